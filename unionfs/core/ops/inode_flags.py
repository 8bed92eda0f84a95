"""Verbs behind chattr(1) and lsattr(1): the flags of inodes, by the ioctls that get and set them.

Their arguments are passed to the layer's filesystem as they are, which alone knows what they mean.
"""

import errno
import fcntl
import os
import struct

from unionfs.core import checks, copyup, immutable, objects
from unionfs.core.inodes import Dir, File, Node
from unionfs.core.union import Union
from unionfs.core.work import Steps

# include/uapi/linux/fs.h; the size of the first two is that of a long, yet what they move is an int
_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_IOC_FSGETXATTR = 0x801C581F
_FS_IOC_FSSETXATTR = 0x401C5820
_XFLAGS = {immutable.APPEND: 0x10, immutable.IMMUTABLE: 0x08}
"""What FS_IOC_FSGETXATTR calls them: FS_XFLAG_*."""

GETTERS = {_FS_IOC_GETFLAGS: 4, _FS_IOC_FSGETXATTR: 28}
"""The commands that `get` knows, and how many bytes each gives."""
SETTERS = {_FS_IOC_SETFLAGS: 4, _FS_IOC_FSSETXATTR: 28}
"""The commands that `set` knows, and how many bytes each takes."""


def get(union: Union, node: Node, command: int) -> bytes:
    """What `command` gives. Raises OSError: ENOTTY (no file or directory, or the layer has no flags)."""
    answer = _ioctl(union, node, command, bytes(GETTERS[command]))
    return _with(answer, immutable.flags(union, node), command)


def set(union: Union, node: Node, command: int, argument: bytes) -> Steps[None]:
    """Have `command` done with `argument`, after copy-up. Raises OSError: EINVAL, ENOTTY, EPERM, EOPNOTSUPP, EROFS."""
    if len(argument) != SETTERS[command]:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    checks.writable(union)
    if isinstance(node, Dir):
        copyup.upper_dir(union, node)
    elif isinstance(node, File):
        node.opens += 1  # it may lose its names while it is copied
        try:
            yield from copyup.upper_file(union, node)
        finally:
            node.opens -= 1
    _ioctl(union, node, command, argument)
    immutable.drop(union, node)


def _with(answer: bytes, flags: int, command: int) -> bytes:
    """What `command` gave, and `flags`, which only a mark says of a copy."""
    words = {_FS_IOC_FSGETXATTR: _XFLAGS}.get(command, {})
    (given,) = struct.unpack_from("=I", answer)
    for flag in (immutable.APPEND, immutable.IMMUTABLE):
        if flags & flag:
            given |= words.get(flag, flag)
    return struct.pack("=I", given) + answer[4:]


def _ioctl(union: Union, node: Node, command: int, argument: bytes) -> bytes:
    place = objects.locate(union, node)
    fd = place.open(os.O_RDONLY | os.O_NONBLOCK)
    try:
        return fcntl.ioctl(fd, command, argument)
    finally:
        os.close(fd)
