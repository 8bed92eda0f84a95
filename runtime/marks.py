"""Marks of deletion in layers that are made without a union over them.

In the form that the filesystem takes, as an upper's: a device 0:0 can't be made on overlayfs or through FUSE, a file
named `.wh.…` not in a union that reads these, and not every filesystem holds xattrs.
"""

import errno
import os
import stat
from collections.abc import Callable

from unionfs.core.dialect import OPAQUE, WH_OPAQUE, WH_PREFIX, WHITEOUT
from unionfs.linux.at import At

_CANNOT = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def whiteout(directory: int, name: bytes, prefix: bytes) -> None:
    """Let `name` be deleted; `prefix` is that of the layer's xattrs.

    Precondition: `directory` is opaque already if it is to be so. Raises FileExistsError if the layer has the name.
    """
    if not (
        _works(lambda: os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory))
        or _works(lambda: _put_file(directory, name, prefix))
    ):
        _touch(At(directory, WH_PREFIX + name))


def opaque(directory: At, prefix: bytes) -> None:
    """Let nothing below merge with `directory`; `prefix` is that of the layer's xattrs."""
    if not _works(lambda: directory.setxattr(prefix + OPAQUE, b"y")):
        _touch(At(directory.dirfd, directory.name + b"/" + WH_OPAQUE if directory.name else WH_OPAQUE))


def _put_file(directory: int, name: bytes, prefix: bytes) -> None:
    """A file with an xattr, in a directory that says so. Kernel: Documentation/filesystems/overlayfs.rst."""
    place, above = At(directory, name), At(directory, b".")
    _touch(place)
    try:
        place.setxattr(prefix + WHITEOUT, b"")
        above.setxattr(prefix + OPAQUE, b"x", os.XATTR_CREATE)
    except FileExistsError:
        if above.getxattr(prefix + OPAQUE) != b"x":  # opaque: there is nothing to hide
            os.unlink(name, dir_fd=directory)
    except OSError:
        os.unlink(name, dir_fd=directory)
        raise


def _touch(place: At) -> None:
    os.close(place.open(_NEW, 0o600))


def _works(call: Callable[[], None]) -> bool:
    """Whether the filesystem can do it. Raises OSError: what else went wrong."""
    try:
        call()
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True
