"""Reading and writing an open file for a request: in place when it can't take long, in a thread when it can."""

import errno
import os
from functools import partial

from unionfs.core.inodes import Handle
from unionfs.core.ops import files
from unionfs.core.union import Union
from unionfs.fuse.loop import Loop

_SYNC = os.O_SYNC | os.O_DSYNC | os.O_DIRECT
_LARGEST = 1 << 20
"""Bytes in the largest request (256 pages: FUSE_MAX_MAX_PAGES)."""


class Data:
    """The data of open files, by handle number."""

    def __init__(self, union: Union, loop: Loop) -> None:
        self._union = union
        self._handles = union.handles
        self._loop = loop
        self._buffer = memoryview(bytearray(_LARGEST))
        self._no_nowait: set[int] = set()
        """Handles on filesystems that can't say whether a read would wait."""

    async def read(self, fh: int, offset: int, size: int) -> bytes | memoryview:
        """Up to `size` bytes, fewer only at the end. What it gives is good until the next request is looked at."""
        fd = self._handles[fh].fd
        if size > _LARGEST or fh in self._no_nowait:
            return os.pread(fd, size, offset)
        try:
            count = os.preadv(fd, [self._buffer[:size]], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            count = -1
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._no_nowait.add(fh)
            return os.pread(fd, size, offset)
        # a short count means the end, or that the rest isn't in memory
        if count == size or (count >= 0 and offset + count >= os.fstat(fd).st_size):
            return self._buffer[:count]
        return await self._loop.in_thread(partial(os.pread, fd, size, offset))

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        """Write all of `data`; fewer bytes only when the filesystem is full. Raises OSError: ENOSPC, EDQUOT, …"""
        handle = self._handles[fh]
        if handle.kill_priv:
            files.kill_priv(self._union, handle)
        if handle.flags & _SYNC:
            return await self._loop.in_thread(partial(_write_all, handle, offset, data))
        return _write_all(handle, offset, data)

    def forget(self, fh: int) -> None:
        """The handle is closed."""
        self._no_nowait.discard(fh)


def _write_all(handle: Handle, offset: int, data: bytes) -> int:
    written = os.pwrite(handle.fd, data, offset)
    while written < len(data):
        try:
            count = os.pwrite(handle.fd, data[written:], offset + written)
        except OSError:
            break  # the caller sees the short count, and the error when it writes the rest
        if count == 0:
            break
        written += count
    return written
