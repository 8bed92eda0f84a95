"""Time of an empty request: fstat of a file whose attributes the kernel mustn't keep, on a union of one layer.

Prints microseconds for each binding, and for pyfuse3 as it comes on a filesystem that does nothing else; several
rounds in turn, and medians. Needs root and /dev/fuse.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import pyfuse3
import trio

from unionfs.fuse import kernel
from unionfs.linux import mounts

ROUNDS = 5
REQUESTS = 20_000


class Empty(pyfuse3.Operations):
    """One directory, attributes never cached."""

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = 0o40755
        entry.attr_timeout = 0
        return entry


def measure_empty() -> float:
    """Microseconds per request with pyfuse3 as it comes, served in a process of its own."""
    target = tempfile.mkdtemp()
    fd = kernel.open_device()
    kernel.mount_device(fd, os.fsencode(target), source=b"empty")
    pid = os.fork()
    if pid == 0:
        pyfuse3.init(Empty(), f"/dev/fd/{fd}", set())
        trio.run(pyfuse3.main)
        os._exit(0)
    os.close(fd)
    try:
        return _time(target)
    finally:
        mounts.umount2(os.fsencode(target), 0)
        os.waitpid(pid, 0)
        os.rmdir(target)


def measure_union(program: list[str]) -> float:
    """Microseconds per request on a mount that `program` makes; it is given options and mount point."""
    place = tempfile.mkdtemp(dir="/var/tmp")
    lower, merged = f"{place}/lower", f"{place}/merged"
    os.mkdir(lower)
    os.mkdir(merged)
    open(f"{lower}/file", "w").close()
    subprocess.run([*program, "-o", f"timeout=0,lowerdir={lower}", merged], check=True)
    try:
        return _time(f"{merged}/file")
    finally:
        subprocess.run(["umount", merged], check=True)
        shutil.rmtree(place)


def _time(path: str) -> float:
    os.stat(path)
    fd = os.open(path, os.O_RDONLY)
    start = time.perf_counter()
    for _ in range(REQUESTS):
        os.fstat(fd)
    took_us = (time.perf_counter() - start) / REQUESTS * 1e6
    os.close(fd)
    return took_us


def run() -> int:
    """Print the figures."""
    union = [sys.executable, "-m", "unionfs"]
    measured: dict[str, Callable[[], float]] = {
        "direct": lambda: measure_union([*union, "-o", "binding=direct"]),
        "pyfuse3 on our loop": lambda: measure_union([*union, "-o", "binding=pyfuse3"]),
        "pyfuse3 as it comes": measure_empty,
    }
    if shutil.which("fuse-overlayfs"):
        measured["fuse-overlayfs"] = lambda: measure_union(["fuse-overlayfs"])
    figures: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, measure in measured.items():
            figures[name].append(measure())
            print(f"{name:20} {figures[name][-1]:6.1f} µs", flush=True)
    base = statistics.median(figures["direct"])
    for name, values in figures.items():
        print(f"median {name:20} {statistics.median(values):6.1f} µs  {statistics.median(values) / base:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(run())
