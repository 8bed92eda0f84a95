"""A filesystem of one file whose reads wait: python gate.py MOUNTPOINT CONTROL SIZE.

CONTROL/waiting appears when a read is held up; reads are answered once CONTROL/open is there, or in
20 seconds lest a test that fails hang. CONTROL/reads has a character for each read.
"""

import errno
import os
import stat
import sys
from pathlib import Path

import pyfuse3
import trio

BIG = 2
LONGEST_S = 20
PATTERN = bytes(range(256)) * 16


class Gate(pyfuse3.Operations):
    """The root directory, and `big` in it."""

    def __init__(self, control: Path, size: int) -> None:
        super().__init__()
        self._control = control
        self._size = size

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_nlink = 1
        entry.st_mode = stat.S_IFDIR | 0o755 if inode == pyfuse3.ROOT_INODE else stat.S_IFREG | 0o644
        entry.st_size = 0 if inode == pyfuse3.ROOT_INODE else self._size
        return entry

    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        if name != b"big":
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(BIG, ctx)

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        if start_id == 0:
            pyfuse3.readdir_reply(token, b"big", await self.getattr(BIG, None), 1)  # type: ignore[arg-type]

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=inode)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        deadline = trio.current_time() + LONGEST_S
        while not (self._control / "open").exists() and trio.current_time() < deadline:
            (self._control / "waiting").touch()
            await trio.sleep(0.01)
        with open(self._control / "reads", "a") as reads:
            reads.write("r")
        return (PATTERN * (size // len(PATTERN) + 1))[: max(0, min(size, self._size - off))]


async def serve() -> None:
    await pyfuse3.main()


if __name__ == "__main__":
    pyfuse3.init(Gate(Path(sys.argv[2]), int(sys.argv[3])), sys.argv[1], {"fsname=gate", "allow_other"})
    try:
        trio.run(serve)
    finally:
        pyfuse3.close(unmount=False)
    os._exit(0)
