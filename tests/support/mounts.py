"""Mounts for tests: ours, and kernel overlayfs beside it as the oracle.

As fixtures (tests/conftest.py), each a function that may be called several times in a test; all is
unmounted, and each driver seen to end, when the test is over:

    mounted = union_mount([top, bottom], upper)         # Mounted; str(mounted.path) is the mount point
    oracle = overlay_mount([top, bottom], other_upper)
    frozen = union_mount([top, bottom])                 # no upper: read-only
    mounted.unmount(); again = mounted.remount()        # the same layers, upper and workdir

Layers come uppermost first. The workdir is `UPPER.work` beside the upper unless given; missing upper,
workdir and mount point are made. `options` are further mount options, such as "volatile,redirect_dir=off".
PYUNION_TEST_BINDING=direct or pyfuse3 in the environment says what carries requests, where a test doesn't.
Outside a test `mount_union(…)` and `mount_overlay(…)` return the same Mounted, also a context manager.
"""

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import lesser_fuse

READY_TIMEOUT_S = 20
END_TIMEOUT_S = 20
BUSY_TIMEOUT_S = 5

_REFUSED = os.environ.get("PYUNION_TEST_REFUSE")
PYUNIONFS = lesser_fuse.command(_REFUSED) if _REFUSED else (sys.executable, "-m", "unionfs")
"""The mount program of this checkout, as arguments to run."""


class Log:
    """A file that has no name, so that none is left."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("pyunionfs")

    def __del__(self) -> None:
        os.close(self.fd)

    def text(self) -> str:
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0).decode(errors="replace")


@dataclass
class Mounted:
    """A union that is mounted; `driver` is the process that serves it (None: the kernel does)."""

    path: Path
    lowers: tuple[Path, ...]
    upper: Path | None
    workdir: Path | None
    options: str
    driver: subprocess.Popen[bytes] | None
    log: "Log | None"                   # what the driver printed
    is_mounted: bool = True

    def unmount(self) -> None:
        """Unmount and wait for the driver's end; a driver that stays is killed and the test fails."""
        if not self.is_mounted:
            return
        self.is_mounted = False
        result = _while_busy(["umount", str(self.path)])
        if result.returncode != 0:
            subprocess.run(["umount", "-l", str(self.path)], check=False)
            self._end_driver(grace_s=1)
            raise AssertionError(f"umount {self.path}: {result.stderr.strip()}{self._logged()}")
        self._end_driver(grace_s=END_TIMEOUT_S)

    def remount(self) -> "Mounted":
        """Mount the same layers, upper and workdir at the same place again; the result is self."""
        self.unmount()
        mount = mount_overlay if self.driver is None else mount_union
        again = mount(self.lowers, self.upper, workdir=self.workdir, at=self.path, options=self.options)
        self.driver, self.log, self.is_mounted = again.driver, again.log, True
        return self

    def log_text(self) -> str:
        """What the driver printed so far."""
        return self.log.text() if self.log else ""

    def _logged(self) -> str:
        return f"\nthe driver printed:\n{text}" if (text := self.log_text()) else ""

    def _end_driver(self, grace_s: float) -> None:
        if self.driver is None:
            return
        try:
            status = self.driver.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
            raise AssertionError(
                f"the driver of {self.path} did not end{self._logged()}\nstill mounted for: {_holders(self.path)}"
            ) from None
        assert status == 0, f"the driver of {self.path} ended with {status}{self._logged()}"

    def __enter__(self) -> "Mounted":
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()


def mount_union(
    lowers: Sequence[str | os.PathLike[str]],
    upper: str | os.PathLike[str] | None = None,
    *,
    workdir: str | os.PathLike[str] | None = None,
    at: str | os.PathLike[str] | None = None,
    options: str = "",
) -> Mounted:
    """Mount with our mount program, in the foreground so that its end can be waited for."""
    mounted = _prepare(lowers, upper, workdir, at, options)
    mounted.log = Log()
    command = [*PYUNIONFS, *binding_words(), str(mounted.path), "-f", "-o", union_options(mounted)]
    already = len(mount_point_lines(mounted.path))
    mounted.driver = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=mounted.log.fd, stderr=mounted.log.fd)
    try:
        _wait_until_mounted(mounted, already)
    except BaseException:
        mounted.driver.kill()
        mounted.driver.wait()
        subprocess.run(["umount", "-l", str(mounted.path)], capture_output=True, check=False)
        raise
    return mounted


def mount_overlay(
    lowers: Sequence[str | os.PathLike[str]],
    upper: str | os.PathLike[str] | None = None,
    *,
    workdir: str | os.PathLike[str] | None = None,
    at: str | os.PathLike[str] | None = None,
    options: str = "",
) -> Mounted:
    """Mount kernel overlayfs; one lower alone without upper is refused by it (give an empty second)."""
    mounted = _prepare(lowers, upper, workdir, at, options)
    command = ["mount", "-t", "overlay", "overlay", "-o", union_options(mounted), str(mounted.path)]
    result = _while_busy(command)
    assert result.returncode == 0, f"kernel overlayfs: {result.stderr.strip()} ({command})"
    return mounted


def _while_busy(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `command` again while it says "busy": whoever looks through /proc holds files and mounts for a moment."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if "busy" not in result.stderr or time.monotonic() > deadline:
            return result
        time.sleep(0.05)


def union_options(mounted: Mounted) -> str:
    """The -o string of a stack, with its separators escaped as overlayfs and fuse-overlayfs read them."""
    items = ["lowerdir=" + ":".join(escape(path) for path in mounted.lowers)]
    if mounted.upper is not None:
        assert mounted.workdir is not None
        items += [f"upperdir={escape(mounted.upper)}", f"workdir={escape(mounted.workdir)}"]
    return ",".join(items + ([mounted.options] if mounted.options else []))


def binding_words() -> list[str]:
    """Arguments for the binding that the environment asks for; first, so that a test's own choice counts."""
    binding = os.environ.get("PYUNION_TEST_BINDING")
    return ["-o", f"binding={binding}"] if binding else []


def escape(path: str | os.PathLike[str]) -> str:
    """Backslashes before what separates options and layers."""
    text = os.fspath(path)
    for separator in ("\\", ":", ","):
        text = text.replace(separator, "\\" + separator)
    return text


def is_mount_point(path: str | os.PathLike[str]) -> bool:
    """Whether something is mounted at `path` in our mount namespace; asks no filesystem."""
    return mount_point_lines(path) != []


def mount_point_lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines of mountinfo for mounts at exactly `path`, oldest first."""
    wanted = _mountinfo_escape(os.path.realpath(path))
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").split("\n")
    return [line for line in lines if line and line.split(" ")[4] == wanted]


def _holders(path: Path) -> list[str]:
    """Processes in whose mount namespace `path` is still a mount point."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f" {_mountinfo_escape(os.fspath(path))} " in (process / "mountinfo").read_text(errors="surrogateescape"):
                found.append(f"{process.name} {(process / 'cmdline').read_bytes()[:80]!r}")
        except OSError:
            continue
    return found


def _mountinfo_escape(path: str) -> str:
    for character in ("\\", " ", "\t", "\n"):
        path = path.replace(character, f"\\{ord(character):03o}")
    return path


def _prepare(
    lowers: Sequence[str | os.PathLike[str]],
    upper: str | os.PathLike[str] | None,
    workdir: str | os.PathLike[str] | None,
    at: str | os.PathLike[str] | None,
    options: str,
) -> Mounted:
    point = Path(at) if at is not None else Path(tempfile.mkdtemp(prefix="pyunion-test-mnt-"))
    if upper is not None and workdir is None:
        workdir = f"{os.fspath(upper)}.work"
    for directory in (upper, workdir, point):
        if directory is not None:
            os.makedirs(directory, exist_ok=True)
    return Mounted(
        path=point,
        lowers=tuple(Path(lower) for lower in lowers),
        upper=Path(upper) if upper is not None else None,
        workdir=Path(workdir) if workdir is not None else None,
        options=options,
        driver=None,
        log=None,
    )


def _wait_until_mounted(mounted: Mounted, already: int) -> None:
    """Sleep until mountinfo changes (poll reports POLLPRI) and has more than `already` mounts there."""
    assert mounted.driver is not None
    deadline = time.monotonic() + READY_TIMEOUT_S
    with open("/proc/self/mountinfo", "rb") as mountinfo:
        changes = select.poll()
        changes.register(mountinfo, select.POLLPRI)
        while len(mount_point_lines(mounted.path)) <= already or not _is_served(mounted.path):
            if (status := mounted.driver.poll()) is not None:
                raise AssertionError(f"pyunionfs ended with {status}{mounted._logged()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{mounted.path} was not mounted in time{mounted._logged()}")
            changes.poll(50)


def _is_served(path: Path) -> bool:
    """Whether the mount answers; the question itself waits for the driver's first reply."""
    try:
        os.statvfs(path)
    except OSError:
        return False
    return True


class MountFactory:
    """The function a fixture hands to a test; remembers its mounts and takes them down, last first."""

    def __init__(self, mount: Callable[..., Mounted], scratch: Path) -> None:
        self._mount = mount
        self._scratch = scratch
        self._mounts: list[Mounted] = []

    def __call__(
        self,
        lowers: Sequence[str | os.PathLike[str]],
        upper: str | os.PathLike[str] | None = None,
        *,
        workdir: str | os.PathLike[str] | None = None,
        at: str | os.PathLike[str] | None = None,
        options: str = "",
    ) -> Mounted:
        """Mount as `mount_union` or `mount_overlay` do, at a fresh directory unless `at` is given."""
        if at is None:
            at = tempfile.mkdtemp(prefix="mnt-", dir=self._scratch)
        mounted = self._mount(lowers, upper, workdir=workdir, at=at, options=options)
        self._mounts.append(mounted)
        return mounted

    def close(self) -> None:
        """Unmount all; what failed is raised at the end, when nothing is left mounted."""
        errors: list[BaseException] = []
        while self._mounts:
            mounted = self._mounts.pop()
            try:
                mounted.unmount()
            except AssertionError as error:
                errors.append(error)
            while is_mount_point(mounted.path):
                subprocess.run(["umount", "-l", str(mounted.path)], capture_output=True, check=False)
        if errors:
            raise errors[0]
