"""What a workload is: a function that gets a fresh mount, does something, and says which parts are to be timed.

    @workload(image, Row("five names", aim=1.2))
    def five_names(place: Place) -> object:
        with place.timed("five names", cold=True):
            names = sorted(os.listdir(place.merged))[:5]
        return names

What it returns must be the same on every mount: it shows that the same work was done.
"""

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from bench.mounts import SHARED, Layers, Mount, System
from bench.requests import RequestCounter
from bench.stacks import StackMaker

_DROP = Path("/proc/sys/vm/drop_caches")
_HOST_PROGRAMS = ("cat", "chown", "chroot", "find", "rm", "tar")
"""Run once after the caches were dropped: reading these from disk is no part of what is measured."""


class Failed(Exception):
    """A filesystem can't do what is asked, or did something else."""


Unit = Literal["ratio", "ms", "MB", "bytes"]


class Row(NamedTuple):
    """A line of the table. `aim`: the most that ours may take, in `unit`; a ratio is to kernel overlayfs.

    `shared_aim` is for lower_io=shared. Figures are in seconds, or in bytes.
    """

    name: str
    aim: float | None = None
    unit: Unit = "ratio"
    shared_aim: float | None = None


class Workload(NamedTuple):
    """A function, what it is done on, and what it measures."""

    name: str
    run: Callable[["Place"], object]
    stack: StackMaker
    rows: tuple[Row, ...]
    group: str                  # the module it is in
    prepare: Callable[[Layers], None] | None    # fills the upper before it is mounted
    writes: bool                # it changes what lies below
    shared: bool                # worth a column for files of lowers passed through
    costly: bool                # takes so long that fewer rounds must do
    noisy: bool                 # the disk's share varies so much that few rounds say nothing

    def suits(self, system: System) -> bool:
        """Whether it can be done there."""
        return (system.copies_up or not self.writes) and (system.name != SHARED or self.shared)


WORKLOADS: dict[str, Workload] = {}


def workload(
    stack: StackMaker,
    *rows: Row,
    prepare: Callable[[Layers], None] | None = None,
    writes: bool = False,
    shared: bool = False,
    costly: bool = False,
    noisy: bool = False,
) -> Callable[[Callable[["Place"], object]], Callable[["Place"], object]]:
    """Add the function below it to those that are measured, under its name."""

    def add(run: Callable[[Place], object]) -> Callable[[Place], object]:
        name = run.__name__.replace("_", "-")
        group = run.__module__.rpartition(".")[2]
        WORKLOADS[name] = Workload(name, run, stack, rows, group, prepare, writes, shared, costly, noisy)
        return run

    return add


class Place:
    """A fresh mount as a workload sees it, and what was measured on it.

    `merged` is the mount point, `scratch` a folder of the same disk outside, `random` the same on every mount.
    """

    def __init__(self, mount: Mount, scratch: Path, counter: RequestCounter | None, quick: bool) -> None:
        self.mount = mount
        self.merged = mount.merged
        self.scratch = scratch
        self.quick = quick
        self.random = random.Random(1)
        self.figures: dict[str, float] = {}
        self.requests: dict[str, Counter[str]] = {}
        self._counter = counter

    @contextmanager
    def timed(self, row: str, *, cold: bool = False) -> Iterator[None]:
        """Time the block, in seconds; `cold`: nothing is in any cache of the machine when it begins."""
        os.sync()
        if cold:
            drop_caches()
        if self._counter:
            self._counter.start()
        started = time.perf_counter()
        yield
        self.figures[row] = time.perf_counter() - started
        if self._counter:
            self.requests[row] = self._counter.stop(self.merged)

    def forget(self) -> None:
        """Have the kernel forget names and inodes, and the filesystem with it; pages stay."""
        os.sync()
        _DROP.write_text("2")

    def note(self, row: str, value: float) -> None:
        """Record a figure that isn't the time of a block."""
        self.figures[row] = value

    def size(self, whole: int) -> int:
        """`whole`, or an eighth of it in a quick run."""
        return whole // 8 if self.quick else whole

    def inside(self, *command: str) -> bytes:
        """Run a program of the mount, by chroot; its output."""
        return run("chroot", str(self.merged), *command)


def run(*command: str | Path, enter: Callable[[], None] | None = None) -> bytes:
    """Run a program of the machine; its output. `enter` is called in the new process before. Raises Failed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, preexec_fn=enter, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr[-400:]!r}")
    return done.stdout


def drop_caches() -> None:
    """Empty the caches of pages, names and inodes of the machine; then run what the workloads run."""
    _DROP.write_text("3")
    for program in _HOST_PROGRAMS:
        run(program, "--version")
