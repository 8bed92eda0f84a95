"""The filesystems that are measured, each as the command that mounts it."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.stacks import Stack
from tests.support.mounts import escape

PYUNIONFS = str(Path(sys.executable).with_name("pyunionfs"))
OVERLAY = "overlayfs"
OURS = "pyunion"
SHARED = "pyunion, shared"
COUNTED = (OURS, "fuse-overlayfs")
"""Whose requests are counted."""
_BUSY_TIMEOUT_S = 10
HOUSE = Path(__file__).resolve().parent.parent


class Layers(NamedTuple):
    """What a mount is made of: lower directories, uppermost first, and a fresh upper and workdir."""

    lowers: tuple[Path, ...]
    upper: Path
    work: Path


class System(NamedTuple):
    """A union filesystem: `command` gives the arguments that mount layers at a place, and return once it is mounted.

    `marks`: it knows kernel overlayfs's marks of deletion. `copies_up`: what lies below can be changed through it.
    """

    name: str
    kind: str                       # kernel, peer or ours
    command: Callable[[Layers, Path], Sequence[str | Path]]
    program: str
    marks: bool = True
    copies_up: bool = True

    @property
    def is_yardstick(self) -> bool:
        """Whether others are measured by it, so that it is measured more often."""
        return self.name in (OVERLAY, OURS) or self.name.startswith("fuse-overlayfs")


def overlay_options(layers: Layers) -> str:
    """lowerdir, upperdir and workdir, as overlayfs, fuse-overlayfs and ours read them."""
    lowers = ":".join(escape(lower) for lower in layers.lowers)
    return f"lowerdir={lowers},upperdir={escape(layers.upper)},workdir={escape(layers.work)}"


def _kernel(layers: Layers, at: Path) -> Sequence[str | Path]:
    # By names relative to their folder: 128 layers are to fit the page that mount(2) takes.
    folder = os.path.commonpath(layers.lowers)
    near = layers._replace(lowers=tuple(lower.relative_to(folder) for lower in layers.lowers))
    mount = 'cd "$0" && exec mount -t overlay overlay -o "$1" "$2"'
    return ["sh", "-c", mount, folder, overlay_options(near), at]


def _fuse_overlayfs(program: str) -> Callable[[Layers, Path], Sequence[str | Path]]:
    return lambda layers, at: [program, "-o", f"{overlay_options(layers)},suid,dev", at]


def _unionfs_fuse(layers: Layers, at: Path) -> Sequence[str | Path]:
    branches = ":".join([f"{layers.upper}=RW", *(f"{lower}=RO" for lower in layers.lowers)])
    return ["unionfs-fuse", "-o", "cow,allow_other,use_ino,suid,dev", branches, at]


def _mergerfs(layers: Layers, at: Path) -> Sequence[str | Path]:
    branches = ":".join([f"{layers.upper}=RW", *(f"{lower}=RO" for lower in layers.lowers)])
    options = "allow_other,use_ino,category.search=ff,category.create=ff,cache.files=auto-full"
    return ["mergerfs", "-o", f"fsname=mergerfs,{options}", branches, at]


def _ours(options: str) -> Callable[[Layers, Path], Sequence[str | Path]]:
    return lambda layers, at: [PYUNIONFS, at, "-o", f"{overlay_options(layers)},{options}"]


SYSTEMS = {
    system.name: system
    for system in (
        System(OVERLAY, "kernel", _kernel, "mount"),
        System("fuse-overlayfs", "peer", _fuse_overlayfs("fuse-overlayfs"), "fuse-overlayfs"),
        System("unionfs-fuse", "peer", _unionfs_fuse, "unionfs-fuse", marks=False),
        System("mergerfs", "peer", _mergerfs, "mergerfs", marks=False, copies_up=False),
        System(OURS, "ours", _ours("binding=direct"), PYUNIONFS),
        System(SHARED, "ours", _ours("binding=direct,lower_io=shared"), PYUNIONFS),
        System("pyunion, pyfuse3", "ours", _ours("binding=pyfuse3"), PYUNIONFS),
    )
}


def add_fuse_overlayfs(program: str) -> None:
    """Measure another fuse-overlayfs too, under its own version's name."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    version = next(line.split()[-1] for line in said.splitlines() if line.startswith("fuse-overlayfs"))
    name = f"fuse-overlayfs {version}"
    SYSTEMS[name] = System(name, "peer", _fuse_overlayfs(program), program)


def installed() -> list[System]:
    """The filesystems whose programs are here."""
    return [system for system in SYSTEMS.values() if shutil.which(system.program)]


class Mount:
    """A stack mounted at a fresh place with an empty upper; used in a with statement, which takes it down."""

    def __init__(
        self, system: System, stack: Stack, scratch: Path, prepare: Callable[[Layers], None] | None = None
    ) -> None:
        self.merged = scratch / "merged"
        self.upper = scratch / "upper"
        self._scratch = scratch
        lowers = stack.layers if system.marks else stack.plain
        self.layers = Layers(lowers, self.upper, scratch / "work")
        self._prepare = prepare
        self._command = system.command(self.layers, self.merged)
        self.driver: int | None = None      # the process that serves it; None: the kernel does

    def __enter__(self) -> "Mount":
        for folder in (self.merged, self.upper, self.layers.work):
            folder.mkdir(parents=True, exist_ok=True)
        if self._prepare:
            self._prepare(self.layers)
        self.mount()
        self.wait_until_served()
        return self

    def wait_until_served(self) -> None:
        """Wait for whoever mounts first and serves later, and find its process."""
        os.statvfs(self.merged)
        self.driver = self._find_driver()

    def mount(self) -> None:
        """Run the mount command alone."""
        done = subprocess.run(self._command, cwd=HOUSE, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"{' '.join(map(str, self._command[:3]))} ...: {done.stderr.strip()}")

    def unmount(self) -> None:
        """Unmount, and wait until its process has ended."""
        descriptor = os.pidfd_open(self.driver) if self.driver else None
        deadline = time.monotonic() + _BUSY_TIMEOUT_S
        while subprocess.run(["umount", self.merged], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise OSError(f"{self.merged} stays busy")
            time.sleep(0.05)
        if descriptor is not None:
            _wait_end(descriptor)

    def __exit__(self, *_: object) -> None:
        if os.path.ismount(self.merged):
            self.unmount()
        subprocess.run(["rm", "-rf", self._scratch], check=True)

    def _find_driver(self) -> int | None:
        wanted = os.fsencode(self.merged)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (process / "cmdline").read_bytes().split(b"\0"):
                    return int(process.name)
            except OSError:
                continue
        return None


def _wait_end(descriptor: int) -> None:
    """Wait until the process of a pidfd, not our child, has ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll(20_000)
    os.close(descriptor)
