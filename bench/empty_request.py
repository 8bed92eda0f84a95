"""Time of an empty request: fstat of a file whose attributes the kernel mustn't keep, on a union of one layer.

Beside the bindings and fuse-overlayfs: pyfuse3 as it comes, serving a filesystem that does nothing else.
"""

import functools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyfuse3
import trio

from bench.contest import Action, contest
from bench.workload import run
from unionfs.fuse import kernel
from unionfs.linux import mounts

REQUESTS = 20_000


class Empty(pyfuse3.Operations):
    """One directory, attributes never cached."""

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = 0o40755
        entry.attr_timeout = 0
        return entry


@contest("empty-request", f"{REQUESTS:,} empty requests", ours="pyunion, direct", rounds=5)
@contextmanager
def empty_request(scratch: Path) -> Iterator[dict[str, Action]]:
    """fstat of an open file, with attributes that expire at once."""
    union: list[str | Path] = [sys.executable, "-m", "unionfs"]
    programs: dict[str, list[str | Path]] = {
        "pyunion, direct": [*union, "-o", "binding=direct"],
        "pyunion, pyfuse3": [*union, "-o", "binding=pyfuse3"],
    }
    if shutil.which("fuse-overlayfs"):
        programs["fuse-overlayfs"] = ["fuse-overlayfs"]
    with ExitStack() as stack:
        entrants: dict[str, Action] = {
            name: functools.partial(_ask, stack.enter_context(_union(command, scratch / str(number))))
            for number, (name, command) in enumerate(programs.items())
        }
        entrants["pyfuse3 as it comes"] = functools.partial(_ask, stack.enter_context(_empty(scratch / "empty")))
        yield entrants


@contextmanager
def _union(program: list[str | Path], place: Path) -> Iterator[Path]:
    """A file in a mount that `program` makes; it is given options and mount point."""
    lower, merged = place / "lower", place / "merged"
    lower.mkdir(parents=True)
    merged.mkdir()
    (lower / "file").touch()
    run(*program, "-o", f"timeout=0,lowerdir={lower}", merged)
    try:
        yield merged / "file"
    finally:
        run("umount", merged)


@contextmanager
def _empty(target: Path) -> Iterator[Path]:
    """The root of a filesystem that is served in a process of its own."""
    target.mkdir()
    fd = kernel.open_device()
    kernel.mount_device(fd, os.fsencode(target), source=b"empty")
    pid = os.fork()
    if pid == 0:
        pyfuse3.init(Empty(), f"/dev/fd/{fd}", set())
        trio.run(pyfuse3.main)
        os._exit(0)
    os.close(fd)
    try:
        yield target
    finally:
        mounts.umount2(os.fsencode(target), 0)
        os.kill(pid, signal.SIGKILL)    # it doesn't always notice
        os.waitpid(pid, 0)


def _ask(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    for _ in range(REQUESTS):
        os.fstat(fd)
    os.close(fd)
