"""Verbs on the space of files and of the filesystem: fallocate, copy_file_range, syncfs."""

import os
from collections.abc import Callable

from unionfs.core.inodes import Handle
from unionfs.core.union import Union
from unionfs.core.work import Steps, Work
from unionfs.linux import fsops
from unionfs.linux.at import At


def fallocate(union: Union, handle: Handle, mode: int, offset: int, length: int) -> Steps[None]:
    """As fallocate(2), whose modes the upper's filesystem knows. Raises OSError: EOPNOTSUPP, ENOSPC, EINVAL, …"""
    fd = os.dup(handle.fd)  # the handle may be released meanwhile
    yield Work(_closing(lambda: fsops.fallocate(fd, mode, offset, length), fd))


def copy_file_range(
    union: Union, source: Handle, source_offset: int, target: Handle, target_offset: int, length: int
) -> Steps[int]:
    """As copy_file_range(2): how many bytes were copied. Raises OSError: EXDEV, EOPNOTSUPP, EINVAL, ENOSPC, …"""
    reader, writer = os.dup(source.fd), os.dup(target.fd)
    copied = 0

    def copy() -> None:
        nonlocal copied
        copied = os.copy_file_range(reader, writer, length, source_offset, target_offset)

    yield Work(_closing(copy, reader, writer))
    return copied


def syncfs(union: Union) -> Steps[None]:
    """Sync the filesystem of the upper; a success without work where there is none, and when volatile."""
    if union.read_only or union.options.volatile:
        return
    fd = At(union.layers[0].root, b".").open(os.O_RDONLY | os.O_DIRECTORY)
    yield Work(_closing(lambda: fsops.syncfs(fd), fd))


def _closing(run: Callable[[], None], *fds: int) -> Callable[[], None]:
    def closing() -> None:
        try:
            run()
        finally:
            for fd in fds:
                os.close(fd)

    return closing
