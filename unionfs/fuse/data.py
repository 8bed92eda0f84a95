"""Reading and writing an open file for a request: in place when it can't take long, in a thread when it can."""

import errno
import os
from functools import partial

from unionfs.core.inodes import Handle
from unionfs.core.ops import files
from unionfs.core.union import Union
from unionfs.fuse.loop import Loop
from unionfs.linux import mountinfo

_SYNC = os.O_SYNC | os.O_DSYNC | os.O_DIRECT
_IN_MEMORY = (b"tmpfs", b"ramfs")
_LARGEST = 1 << 20
"""Bytes in the largest request (256 pages: FUSE_MAX_MAX_PAGES)."""


class Data:
    """The data of open files, by handle number."""

    def __init__(self, union: Union, loop: Loop) -> None:
        self._union = union
        self._handles = union.handles
        self._loop = loop
        self._buffer = memoryview(bytearray(_LARGEST))
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
            self._never_wait[fh] = _is_in_memory(os.fstat(fd).st_dev)
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
        if handle.flags & _SYNC:
            return await self._loop.in_thread(partial(_write_all, handle, offset, data))
        return _write_all(handle, offset, data)

    def forget(self, fh: int) -> None:
        """The handle is closed."""
        self._never_wait.pop(fh, None)


def _is_in_memory(device: int) -> bool:
    """Whether a filesystem has nothing to wait for; tmpfs doesn't take RWF_NOWAIT as network filesystems don't."""
    mount = mountinfo.of_device(device)
    return mount is not None and mount.fstype in _IN_MEMORY


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
