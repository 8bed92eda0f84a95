"""Reading and writing an open file for a request: in place when it can't take long, in a thread when it can."""

import errno
import os
from functools import partial

from unionfs.core.ops import files
from unionfs.core.union import Union
from unionfs.fuse.loop import Loop
from unionfs.fuse.transfer import buffer, is_in_memory, write_all

_SYNC = os.O_SYNC | os.O_DSYNC | os.O_DIRECT
_LARGEST = 1 << 20
"""Bytes in the largest request (256 pages: FUSE_MAX_MAX_PAGES)."""
_LARGE_WRITE = 128 << 10
"""Whoever writes much is made to wait for the disk: elsewhere."""


class Data:
    """The data of open files, by handle number."""

    def __init__(self, union: Union, loop: Loop) -> None:
        self._union = union
        self._handles = union.handles
        self._loop = loop
        self._buffer = buffer(_LARGEST)
        self._never_wait: dict[int, bool] = {}
        """Of handles on filesystems that can't say whether a read would wait: whether it never does."""

    async def read(self, fh: int, offset: int, size: int) -> bytes | memoryview:
        """Up to `size` bytes, fewer only at the end. What it gives is good until the next request is looked at."""
        fd = self._handles[fh].fd
        if fh in self._never_wait:
            return await self._read_blindly(fh, offset, size)
        size = min(size, _LARGEST)
        try:
            count = os.preadv(fd, [self._buffer[:size]], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            count = -1
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._never_wait[fh] = is_in_memory(os.fstat(fd).st_dev)
            return await self._read_blindly(fh, offset, size)
        # a short count means the end, or that the rest isn't in memory
        if count == size or (count >= 0 and offset + count >= os.fstat(fd).st_size):
            return self._buffer[:count]
        return await self._loop.in_thread(partial(os.pread, fd, size, offset))

    async def _read_blindly(self, fh: int, offset: int, size: int) -> bytes:
        read = partial(os.pread, self._handles[fh].fd, size, offset)
        return read() if self._never_wait[fh] else await self._loop.in_thread(read)

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        """Write all of `data`; fewer bytes only when the filesystem is full. Raises OSError: ENOSPC, EDQUOT, …"""
        handle = self._handles[fh]
        if handle.kill_priv:
            files.kill_priv(self._union, handle)
        if handle.flags & _SYNC or len(data) >= _LARGE_WRITE:
            return await self._loop.in_thread(partial(write_all, handle.fd, offset, data))
        return write_all(handle.fd, offset, data)

    def forget(self, fh: int) -> None:
        """The handle is closed."""
        self._never_wait.pop(fh, None)
