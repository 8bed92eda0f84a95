"""Reading and writing an open file for a request: in place when it can't take long, in a thread when it can."""

import errno
import os
import time

from unionfs.core.inodes import Handle
from unionfs.core.work import Steps, Work
from unionfs.fuse import transfer
from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.session import MAX_TRANSFER_BYTES
from unionfs.fuse.direct.tasks import Answer

_SYNC = os.O_SYNC | os.O_DSYNC | os.O_DIRECT
_LARGE_BYTES = 128 << 10
_STALL_S = 0.01
_THREADS_FOR_S = 1.0
"""Whoever writes much is made to wait for the disk. So large writes go to a thread, which costs next to nothing (with
copy and hop 1.5 GB/s, as without), and all of them do for a while once one had to wait."""

_buffer = transfer.buffer(MAX_TRANSFER_BYTES)
_threads_until = [0.0]
"""Monotonic seconds."""
_waits: dict[int, bool] = {}
"""Of filesystems (st_dev) that can't say whether a read would wait: whether it may."""


def read(handle: Handle, offset: int, size: int) -> Answer | Steps[Answer]:
    """Up to `size` bytes, fewer only at the end. What it gives is good until the next read."""
    target = _buffer[:size]
    size = len(target)
    try:
        count = os.preadv(handle.fd, [target], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return _read_in_thread(handle, offset, size)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return _read_blindly(handle, offset, size)
    # a short count means the end, or that the rest isn't in memory
    if count == size or offset + count >= os.fstat(handle.fd).st_size:
        return target[:count]
    return _read_in_thread(handle, offset, size)


def _read_blindly(handle: Handle, offset: int, size: int) -> Answer | Steps[Answer]:
    waits = may_wait(os.fstat(handle.fd).st_dev)
    return _read_in_thread(handle, offset, size) if waits else os.pread(handle.fd, size, offset)


def may_wait(device: int) -> bool:
    """Whether a read from the filesystem `device`, which can't say so itself, may wait."""
    waits = _waits.get(device)
    if waits is None:
        waits = _waits[device] = not transfer.is_in_memory(device)
    return waits


def _read_in_thread(handle: Handle, offset: int, size: int) -> Answer | Steps[Answer]:
    try:
        fd = os.dup(handle.fd)  # copy-up may put another file behind the handle's
    except OSError:  # too many are open; all wait for this one
        return os.pread(handle.fd, size, offset)
    return _read_and_close(fd, offset, size)


def _read_and_close(fd: int, offset: int, size: int) -> Steps[Answer]:
    found = b""

    def run() -> None:
        nonlocal found
        try:
            found = os.pread(fd, size, offset)
        finally:
            os.close(fd)

    yield Work(run)
    return found


def write(handle: Handle, offset: int, content: memoryview) -> Answer | Steps[Answer]:
    """Write all of `content`; fewer bytes only when the filesystem is full. Raises OSError: ENOSPC, EDQUOT, …"""
    started = time.monotonic()
    if handle.flags & _SYNC or len(content) >= _LARGE_BYTES or started < _threads_until[0]:
        return _write_in_thread(handle, offset, bytes(content))
    written = transfer.write_all(handle.fd, offset, content)
    if time.monotonic() > started + _STALL_S:
        _threads_until[0] = started + _THREADS_FOR_S
    return protocol.WRITE_OUT.pack(written)


def _write_in_thread(handle: Handle, offset: int, content: bytes) -> Steps[Answer]:
    written = 0

    def run() -> None:
        nonlocal written
        written = transfer.write_all(handle.fd, offset, content)

    yield Work(run)
    return protocol.WRITE_OUT.pack(written)
