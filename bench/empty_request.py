"""Time of an empty request: getattr of a file whose attributes aren't cached, on a filesystem that does nothing else.

Prints microseconds for pyfuse3 as it comes and for pyfuse3 on the driver's loop, several rounds in turn, and medians.
Needs root and /dev/fuse.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

import pyfuse3
import trio

from unionfs.fuse import kernel
from unionfs.fuse.loop import Loop
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


async def plain() -> None:
    await pyfuse3.main()


async def polled() -> None:
    pyfuse3.trio = Loop()  # type: ignore[attr-defined]
    await pyfuse3.main(min_tasks=8, max_tasks=1)


def measure(main: Callable[[], Awaitable[None]]) -> float:
    """Microseconds per request of a filesystem served by `main` in a process of its own."""
    target = os.fsencode(tempfile.mkdtemp())
    fd = kernel.open_device()
    kernel.mount_device(fd, target, source=b"empty")
    pid = os.fork()
    if pid == 0:
        pyfuse3.init(Empty(), f"/dev/fd/{fd}", set())
        trio.run(main)
        os._exit(0)
    os.close(fd)
    try:
        os.stat(target)
        start = time.perf_counter()
        for _ in range(REQUESTS):
            os.stat(target)
        return (time.perf_counter() - start) / REQUESTS * 1e6
    finally:
        mounts.umount2(target, 0)
        os.waitpid(pid, 0)
        os.rmdir(target)


def run() -> int:
    """Print the figures."""
    figures: dict[str, list[float]] = {"as it comes": [], "our loop": []}
    for _ in range(ROUNDS):
        for name, main in (("as it comes", plain), ("our loop", polled)):
            figures[name].append(measure(main))
            print(f"{name:12} {figures[name][-1]:6.1f} µs", flush=True)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    ratio = medians["as it comes"] / medians["our loop"]
    for name, value in medians.items():
        print(f"median {name:12} {value:6.1f} µs")
    print(f"ratio {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(run())
