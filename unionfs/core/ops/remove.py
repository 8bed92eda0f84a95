"""Verbs that take names away: unlink, rmdir. Data is never copied for them.

What a lower layer has is hidden by a whiteout; what only the upper has just goes.
"""

import errno
import os

from unionfs.core import checks, copyup, holding, immutable, tree, whiteouts
from unionfs.core.inodes import Dir, File, Node
from unionfs.core.union import Union


def unlink(union: Union, parent: Node, name: bytes) -> None:
    """Remove a name of a file. Raises OSError: EISDIR, ENOENT, EPERM, EROFS, and those of the upper (ENOSPC, …)."""
    checks.writable(union)
    directory = checks.directory(parent)
    node = tree.child(union, directory, name)
    if not isinstance(node, File):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    immutable.check(union, directory)
    immutable.check(union, node)
    part = copyup.upper_dir(union, directory)
    if node.index_name is not None:
        copyup.upper_name(union, directory, name, node)  # so that links in the upper and in the union go together
        copyup.save_nlink(union, node)
    held = holding.hold(union, node)
    try:
        if tree.has_lower(union, directory, name):
            whiteouts.make(union, directory, name, replace=node.lower is None)
        else:
            os.unlink(name, dir_fd=union.fds.fd(part))
    except OSError:
        if held >= 0:
            os.close(held)
        raise
    if directory.index is not None:
        directory.index.remove(name)
    holding.name_removed(union, node, directory, name, held)


def rmdir(union: Union, parent: Node, name: bytes) -> None:
    """Remove a directory in which nothing is visible.

    Raises OSError: ENOTDIR, ENOENT, ENOTEMPTY, EROFS, and those of the upper.
    """
    checks.writable(union)
    directory = checks.directory(parent)
    node = tree.child(union, directory, name)
    if not isinstance(node, Dir):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
    immutable.check(union, directory)
    immutable.check(union, node)
    if len(tree.listing(union, node)):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)
    copyup.upper_dir(union, directory)
    whiteout = tree.has_lower(union, directory, name)
    holding.hold(union, node)
    if node.upper is None:
        whiteouts.make(union, directory, name, replace=False)
    else:
        whiteouts.remove_dir(union, directory, name, whiteout=whiteout)
    if directory.index is not None:
        directory.index.remove(name)
    holding.bury(union, node)
