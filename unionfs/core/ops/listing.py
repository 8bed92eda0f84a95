"""Verbs on open directories: opendir, readdir, releasedir, fsyncdir."""

import os
from collections.abc import Iterator

from unionfs.core import checks, holding, objects, tree
from unionfs.core.inodes import Dir, DirHandle, Node
from unionfs.core.model import StatLike
from unionfs.core.union import Union
from unionfs.core.work import Steps, syncing
from unionfs.linux.at import At


def opendir(union: Union, node: Node) -> int:
    """A handle on the directory `node`. Raises OSError: ENOTDIR."""
    directory = checks.directory(node)
    fh = next(union.new_handle)
    union.dir_handles[fh] = DirHandle(directory)
    directory.opens += 1
    return fh


def readdir(union: Union, fh: int, offset: int) -> Iterator[tuple[int, bytes, Node, StatLike]]:
    """The entries behind `offset` (0: all of them): (its offset, name, node, attributes).

    An entry's offset is larger than the one before and stays the same while its name exists, so a reader can stop,
    let names come and go, and go on. `.` and `..` come first, 1 and 2. Nodes are made as the iterator goes: a node
    the reader didn't keep (`lookups` 0) is to be given to `release_unused`.
    """
    return entries(union, union.dir_handles[fh].node, offset)


def entries(union: Union, node: Dir, offset: int) -> Iterator[tuple[int, bytes, Node, StatLike]]:
    """As `readdir`, without a handle: for who holds the node otherwise."""
    if node.dead:
        return
    if offset < 1:
        yield 1, b".", node, objects.attr(union, node)
    if offset < 2:
        parent = node.parent or node
        yield 2, b"..", parent, objects.attr(union, parent)
    for cookie, name in tree.listing(union, node).after(max(offset, 2)):
        try:
            child, st = tree.child_attr(union, node, name)
        except FileNotFoundError:  # a layer was changed under us
            continue
        yield cookie, name, child, st


def release_unused(union: Union, node: Node) -> None:
    """Drop a node that `readdir` made and its reader didn't keep."""
    holding.forget(union, node)


def releasedir(union: Union, fh: int) -> None:
    """Close the handle."""
    node = union.dir_handles.pop(fh).node
    node.opens -= 1
    holding.forget(union, node)


def fsyncdir(union: Union, fh: int, datasync: bool) -> Steps[None]:
    """Sync the upper's share of the directory; a success without work where it has none, and when volatile."""
    return fsync(union, union.dir_handles[fh].node, datasync)


def fsync(union: Union, node: Dir, datasync: bool) -> Steps[None]:
    """As `fsyncdir`, without a handle."""
    part = node.upper
    if part is None or union.options.volatile:
        return
    yield syncing(At(union.fds.fd(part), b".").open(os.O_RDONLY | os.O_DIRECTORY), datasync)
