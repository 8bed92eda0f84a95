"""Marks of deletion in layers that are made without a union over them.

The kernel's form where the filesystem takes it, else that of images: the device 0:0 can't be made on overlayfs or
through FUSE, and not every filesystem holds xattrs.
"""

import errno
import os
import stat

from unionfs.core.dialect import OPAQUE, WH_OPAQUE, WH_PREFIX
from unionfs.linux.at import At

_CANNOT = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def whiteout(directory: int, name: bytes) -> None:
    """Let `name` be deleted. Raises FileExistsError if the layer has it."""
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        os.close(os.open(WH_PREFIX + name, _NEW, 0o600, dir_fd=directory))


def opaque(directory: At, prefix: bytes) -> None:
    """Let nothing below merge with `directory`; `prefix` is that of the layer's xattrs."""
    try:
        directory.setxattr(prefix + OPAQUE, b"y")
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        path = directory.name + b"/" + WH_OPAQUE if directory.name else WH_OPAQUE
        os.close(At(directory.dirfd, path).open(_NEW, 0o600))
