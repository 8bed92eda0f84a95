"""What verbs ask first: is it a directory, may anything be written."""

import errno
import os

from unionfs.core.inodes import Dir, Node
from unionfs.core.union import Union
from unionfs.core.workdir import Workdir


def no_such_name(name: bytes) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def directory(node: Node) -> Dir:
    """`node` as a directory. Raises OSError: ENOTDIR."""
    if not isinstance(node, Dir):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return node


def writable(union: Union) -> Workdir:
    """The work directory. Raises OSError: EROFS (no upper)."""
    if union.workdir is None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return union.workdir
