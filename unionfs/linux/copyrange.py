"""The bytes of one file into another: shared extents, then the kernel's copy, then ours. Holes stay holes."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from unionfs.linux import fsops

_FICLONE = 0x40049409  # include/uapi/linux/fs.h
_CHUNK_BYTES = 16 << 20  # copy_file_range(2) takes up to 2 GiB; smaller steps let it be stopped
_BUFFER_BYTES = 1 << 20
_NO_KERNEL_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ETXTBSY, errno.EPERM}


Piece = Callable[[int, int], None]
"""Called with offset and length of each piece that was copied; what it raises ends the copying."""


def copy_data(
    source: int, target: int, size: int, stopped: Callable[[], bool] = lambda: False, *, synced: bool = False
) -> None:
    """Make the empty file `target` hold the first `size` bytes of `source`, with its holes.

    Descriptors are open for reading and writing respectively; their offsets are not used. `synced`: the caller syncs
    it next, so its filesystem begins to write what is copied while more is.
    Raises OSError: ENOSPC, EIO, EDQUOT, EINTR (`stopped`, which is asked now and then); `target` then holds some of
    the data.
    """
    if size == 0:
        return

    def piece(offset: int, length: int) -> None:
        if stopped():
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        if synced and offset + length < size:
            fsops.start_writing(target, offset, length)

    if not clone(source, target):
        copy = _copy_in_kernel
        for start, end in data_extents(source, size):
            if end - start > _CHUNK_BYTES:
                with suppress(OSError):  # its blocks side by side, where it can be; who has no space is told by copying
                    fsops.fallocate(target, 0, start, end - start)
            try:
                copy(source, target, start, end, piece)
            except OSError as error:
                if copy is _copy_by_hand or error.errno not in _NO_KERNEL_COPY:
                    raise
                copy = _copy_by_hand
                copy(source, target, start, end, piece)
    if os.fstat(target).st_size != size:
        os.ftruncate(target, size)


def data_extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The (start, end) ranges below `size` that may hold data; one range where holes can't be asked for."""
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno == errno.EINVAL and position == 0:
                yield 0, size
                return
            raise
        if start >= size:
            return
        yield start, min(end, size)
        position = end


def clone(source: int, target: int) -> bool:
    """Let `target` share all extents of `source`; whether their filesystem can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_in_kernel(source: int, target: int, start: int, end: int, piece: Piece) -> None:
    while start < end:
        copied = os.copy_file_range(source, target, min(end - start, _CHUNK_BYTES), start, start)
        if copied == 0:  # the file shrank, or a filesystem (procfs-like) that reports no progress
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        piece(start, copied)
        start += copied


def _copy_by_hand(source: int, target: int, start: int, end: int, piece: Piece) -> None:
    while start < end:
        chunk = os.pread(source, min(end - start, _BUFFER_BYTES), start)
        if not chunk:  # the source shrank under us
            return
        view = memoryview(chunk)
        while view:
            written = os.pwrite(target, view, start)
            view = view[written:]
            start += written
        piece(start - len(chunk), len(chunk))
