"""The mount program as its callers run it: detached, with its output on pipes, and watched for what it leaves."""

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.mounts import PYUNIONFS, binding_words
from tests.support.tree import Snapshot, snapshot
from tests.support.waiting import wait_for

CHECKOUT = Path(__file__).parents[2]
RUN_TIMEOUT_S = 30


@dataclass
class Stage:
    """A place with two lowers, an upper, a workdir and a mount point, and pyunionfs to run there."""

    top: Path
    prefix: list[str] = field(default_factory=list)     # a program to run pyunionfs under: setpriv, unshare, …

    @property
    def point(self) -> Path:
        """The usual mount point."""
        return self.top / "merged"

    @property
    def options(self) -> str:
        """The usual options, lowers and upper."""
        return f"lowerdir={self.top}/a:{self.top}/b,{self.writable}"

    @property
    def writable(self) -> str:
        """Options of the usual upper and workdir."""
        return f"upperdir={self.top}/upper,workdir={self.top}/work"

    def run(self, *arguments: str | bytes, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run pyunionfs detached; a driver that keeps our pipes open makes this fail by its timeout."""
        command: list[str | bytes] = [*self.prefix, *PYUNIONFS, *binding_words(), *arguments]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_TIMEOUT_S,
            text=True, errors="surrogateescape", cwd=cwd or self.top, check=False,
        )

    def mount(self, *arguments: str | bytes, cwd: Path | None = None) -> None:
        """Run pyunionfs, which must succeed and be silent."""
        result = self.run(*arguments, cwd=cwd)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    def umount(self, point: Path | None = None) -> None:
        """Unmount, and wait for the driver's end."""
        subprocess.run(["umount", str(point or self.point)], check=True, capture_output=True, text=True)
        self.wait_for_drivers()

    def wait_for_drivers(self) -> None:
        """Wait until no process was started with a path of ours; fail if one stays."""
        wait_for("the driver's end", lambda: not processes_naming(self.top))

    def snapshot(self) -> Snapshot:
        """All that lies here, as it is on disk."""
        return snapshot(self.top)


def processes_naming(path: Path) -> list[str]:
    """Command lines of processes that have `path` in an argument."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(path) in command and int(directory.name) != os.getpid():
            found.append(f"{directory.name}: {os.fsdecode(command)!r}")
    return found


def mounts_under(path: Path) -> list[str]:
    """Mount points at or below `path`, as mountinfo writes them."""
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    points = [line.split(" ")[4] for line in lines]
    return [point for point in points if f"{point}/".startswith(f"{path}/")]


def make_layers(top: Path, names: Sequence[str]) -> None:
    """Directories with a file each, called after the directory."""
    for name in names:
        (top / name).mkdir()
        (top / name / f"from-{name}").write_text(name)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A Stage; whatever is mounted there in the end is unmounted, and the drivers must end."""
    needs.superuser()
    needs.fuse_device()
    make_layers(tmp_path, ["a", "b"])
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    place = Stage(tmp_path)
    yield place
    for point in reversed(mounts_under(tmp_path)):
        subprocess.run([b"umount", b"-l", _unescape(point)], check=False, capture_output=True)
    place.wait_for_drivers()
    assert mounts_under(tmp_path) == []


@pytest.fixture
def mount_helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with `pyunionfs` in it, as an installation would have."""
    needs.commands("mount.fuse3")
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "pyunionfs"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(CHECKOUT))} exec {shlex.join(PYUNIONFS)} "$@"\n')
    program.chmod(0o755)
    return folder


def _unescape(point: str) -> bytes:
    for character in " \t\n\\":
        point = point.replace(f"\\{ord(character):03o}", character)
    return os.fsencode(point)
