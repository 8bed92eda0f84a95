"""What the tests of the carrier use: requests counted, other users, a layer that can be made to wait."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.mounts import Mounted, MountFactory, is_mount_point
from tests.support.waiting import wait_for

_REQUEST = re.compile(r"DEBUG: (\w+)\(")
_SETTLE_S = 0.05
READY_TIMEOUT_S = 20

UNASKED = ("forget", "batch_forget", "release", "releasedir", "flush", "ioctl")
"""Requests that the kernel sends after the call that they belong to has returned, or not at all; Python's asking
whether what it opened is a terminal, which not every binding hears of."""


@dataclass
class Union:
    """A mounted union, with its layers."""

    mounted: Mounted
    lower: Path
    upper: Path

    @property
    def top(self) -> Path:
        """The mount point."""
        return self.mounted.path

    @property
    def driver(self) -> subprocess.Popen[bytes]:
        """The process that serves it."""
        assert self.mounted.driver is not None
        return self.mounted.driver

    @contextmanager
    def requests(self) -> Iterator[Counter[str]]:
        """Count the requests that come while the block runs, by name; needs the option `debug`."""
        counted: Counter[str] = Counter()
        time.sleep(_SETTLE_S)  # what was asked before may still be answered
        before = len(self.mounted.log_text())
        yield counted
        counted.update(_REQUEST.findall(self.mounted.log_text()[before:]))
        for name in UNASKED:
            del counted[name]


@pytest.fixture(params=["direct", "pyfuse3"], autouse=True)
def binding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What carries the requests of mounts that don't say themselves: every test is for both."""
    monkeypatch.setenv("PYUNION_TEST_BINDING", request.param)
    return str(request.param)


direct_only = pytest.mark.parametrize("binding", ["direct"], indirect=True)
"""For what pyfuse3 can't carry, by nature."""

MakeUnion = Callable[..., Union]


@pytest.fixture
def make_union(public_path: Path, union_mount: MountFactory) -> MakeUnion:
    """Mount a union of one lower, filled by `fill(lower)`, and an upper, where every user gets at it."""

    def make(fill: Callable[[Path], object] = lambda lower: None, options: str = "") -> Union:
        lower, upper = public_path / "lower", public_path / "upper"
        lower.mkdir()
        fill(lower)
        mounted = union_mount([lower], upper, at=public_path / "merged", options=options)
        return Union(mounted, lower, upper)

    return make


def as_user(uid: int, script: str, *arguments: object, gid: int | None = None, groups: tuple[int, ...] = ()) -> str:
    """Run `script` in a Python of its own as an ordinary user; "" or the last line of its traceback."""
    result = subprocess.run(
        [os.path.realpath(sys.executable), "-c", f"import os, sys\n{script}", *map(str, arguments)],
        user=uid, group=uid if gid is None else gid, extra_groups=groups, cwd="/",
        capture_output=True, text=True, timeout=30, check=False,
    )
    return result.stderr.strip().splitlines()[-1] if result.returncode else ""


@dataclass
class Gate:
    """A filesystem with one file, `big`, of which nothing can be read until the gate is opened."""

    path: Path
    control: Path
    size_bytes: int

    def wait_for_reader(self) -> None:
        """Return when a read is held up."""
        wait_for("a read that is held up", (self.control / "waiting").exists)

    def open(self) -> None:
        """Let it be read."""
        (self.control / "open").touch()

    def reads(self) -> int:
        """How many reads it has answered."""
        return len((self.control / "reads").read_text())


@pytest.fixture
def gate(request: pytest.FixtureRequest, public_path: Path) -> Iterator[Gate]:
    """A Gate, mounted, of 4 MiB or the parameter; opened in the end, so that nothing hangs on it."""
    needs.superuser()
    needs.fuse_device()
    path, control = public_path / "gated", public_path / "control"
    path.mkdir()
    control.mkdir()
    program = Path(__file__).parent / "gate.py"
    size_bytes = getattr(request, "param", 4 << 20)
    server = subprocess.Popen([sys.executable, str(program), str(path), str(control), str(size_bytes)])
    try:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not is_mount_point(path):
            assert server.poll() is None, "the gate ended"
            assert time.monotonic() < deadline, "the gate was not mounted"
            time.sleep(0.02)
        made = Gate(path, control, size_bytes)
        yield made
        made.open()
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)
        server.kill()
        server.wait()


@pytest.fixture
def open_fds() -> Iterator[Callable[..., int]]:
    """`open_fds(path, flags)` is os.open whose descriptor is closed after the test, before anything is unmounted."""
    fds: list[int] = []

    def opened(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        fds.append(os.open(path, flags, mode))
        return fds[-1]

    yield opened
    for fd in fds:
        with suppress(OSError):  # its driver may be dead
            os.close(fd)
