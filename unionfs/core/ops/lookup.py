"""Verbs that only look: lookup, getattr, readlink, access, statfs; and forget."""

import errno
import os
import stat

from unionfs.core import checks, holding, objects, tree
from unionfs.core.inodes import File, Handle, Node
from unionfs.core.model import Caller, StatLike
from unionfs.core.union import Union


def lookup(union: Union, parent: Node, name: bytes) -> tuple[Node, StatLike]:
    """The object called `name`. Raises OSError: ENOENT, ENOTDIR, ENAMETOOLONG, and those of the layers."""
    return tree.child_attr(union, checks.directory(parent), name)


def getattr(union: Union, node: Node, handle: Handle | None = None) -> tuple[Node, StatLike]:
    """Attributes of `node`; of an open file through its `handle`, where there is one."""
    if handle is None or handle.fd < 0 or not isinstance(node, File):
        return node, objects.attr(union, node)
    if node.data is None and handle.is_upper == node.is_upper:
        return node, objects.shown(union, node, os.fstat(handle.fd))
    return node, objects.attr(union, node)


def readlink(union: Union, node: Node) -> bytes:
    """The target of a symlink. Raises OSError: EINVAL (no symlink)."""
    if not isinstance(node, File) or node.kind != stat.S_IFLNK:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return objects.locate(union, node).readlink()


def access(union: Union, node: Node, mask: int, caller: Caller) -> None:
    """Check permission bits as access(2) with the caller's ids; carriers that leave this to the kernel never ask.

    Raises OSError: EACCES, EROFS.
    """
    if mask & os.W_OK and union.read_only:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    st = objects.attr(union, node)
    if caller.uid == 0:
        allowed = os.R_OK | os.W_OK | (os.X_OK if st.st_mode & 0o111 or stat.S_ISDIR(st.st_mode) else 0)
    elif caller.uid == st.st_uid:
        allowed = st.st_mode >> 6 & 7
    elif caller.gid == st.st_gid:
        allowed = st.st_mode >> 3 & 7
    else:
        allowed = st.st_mode & 7
    if mask & ~allowed & 7:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def statfs(union: Union) -> os.statvfs_result:
    """Space and names of the upper's filesystem, of the uppermost layer's without upper."""
    return os.fstatvfs(union.layers[0].root)


def forget(union: Union, node: Node, count: int) -> None:
    """The carrier's client dropped `count` references to `node`."""
    node.lookups = max(0, node.lookups - count)
    holding.forget(union, node)
