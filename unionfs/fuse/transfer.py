"""Bytes to and from the files of layers, as both front doors need it."""

import mmap
import os

from unionfs.linux import mountinfo

_IN_MEMORY = (b"tmpfs", b"ramfs")


def buffer(size: int) -> memoryview:
    """Room for so many bytes, of which a page is only had when it is written; bytearray() has a mebibyte in 0.5 ms."""
    return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def is_in_memory(device: int) -> bool:
    """Whether a filesystem has nothing to wait for; tmpfs doesn't take RWF_NOWAIT as network filesystems don't."""
    mount = mountinfo.of_device(device)
    return mount is not None and mount.fstype in _IN_MEMORY


def write_all(fd: int, offset: int, data: bytes | memoryview) -> int:
    """Write all of `data` if there is room; how much was written. Raises OSError: nothing could be."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        try:
            count = os.pwrite(fd, data[written:], offset + written)
        except OSError:
            break  # the caller sees the short count, and the error when it writes the rest
        if count == 0:
            break
        written += count
    return written
