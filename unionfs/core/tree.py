"""From names to nodes."""

import errno
import os
from collections.abc import Sequence

from unionfs.core import adopting, checks, objects
from unionfs.core.index import DirIndex
from unionfs.core.inodes import Dir, Node
from unionfs.core.layer import DirPart
from unionfs.core.model import StatLike
from unionfs.core.stack import Found, find
from unionfs.core.union import Union

_NAME_BYTES = 64
"""About what a name takes in a directory file, so that its st_size tells how many it may have (on ext4)."""
_SMALL_BYTES = 4096
"""Directory files up to this size are read at once: listing one costs no more than a few lookups in it."""
_NAMES_READ_PER_LOOKUP = 8
"""Names that are read from a directory in the time of one lookup in one layer (6 µs, measured on ext4)."""


def child(union: Union, parent: Dir, name: bytes) -> Node:
    """The node called `name` in `parent`. Raises OSError: ENOENT, and those of the layers."""
    return parent.children.get(name) or adopting.adopt(union, parent, name, _found(union, parent, name))


def child_attr(union: Union, parent: Dir, name: bytes) -> tuple[Node, StatLike]:
    """As `child`, with its attributes."""
    node = parent.children.get(name)
    if node is not None:
        return node, objects.attr(union, node)
    found = _found(union, parent, name)
    st = found.st
    node = adopting.adopt(union, parent, name, found)
    if (st.st_dev, st.st_ino) != node.real:  # a lower name of what was copied up through another
        return node, objects.attr(union, node)
    return node, objects.shown(union, node, st)


def peek(union: Union, parent: Dir, name: bytes) -> Node | None:
    """As `child`, None where there is no such name."""
    try:
        return child(union, parent, name)
    except FileNotFoundError:
        return None


def _found(union: Union, parent: Dir, name: bytes) -> Found:
    if len(name) > union.name_max:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)
    found = _find(union, parent, name)
    if found is None:
        raise checks.no_such_name(name)
    return found


def _find(union: Union, parent: Dir, name: bytes) -> Found | None:
    holding: Sequence[DirPart] = parent.parts
    if parent.dead:
        return None
    if parent.index is not None or (parent.is_merged and _index_pays(union, parent)):
        entry = listing(union, parent).get(name)
        if entry is None:
            return None
        holding = (parent.parts[0], *entry.below) if entry.upper else entry.below
    elif union.dialect.is_reserved(name):
        return None
    return find(union.fds, union.dialect, parent.parts, union.root.parts, name, holding)


def _index_pays(union: Union, parent: Dir) -> bool:
    """Whether to read a merged directory for this lookup, or to look in each of its layers once more.

    It pays when as much was spent on lookups as reading costs: a huge directory isn't read for a few names, nor a
    small one asked for many, one by one.
    """
    if parent.patience is None:
        sizes = [os.fstat(union.fds.fd(part)).st_size for part in parent.parts]
        surplus = sum(max(0, size - _SMALL_BYTES) for size in sizes)
        parent.patience = surplus // (_NAME_BYTES * _NAMES_READ_PER_LOOKUP)
    parent.patience -= len(parent.parts)
    return parent.patience < 0


def listing(union: Union, node: Dir) -> DirIndex:
    """The merged listing of `node`, read now if it wasn't yet."""
    if node.index is None:
        node.index = DirIndex.build(union.fds, union.dialect, [] if node.dead else node.parts)
    return node.index


def has_lower(union: Union, parent: Dir, name: bytes) -> bool:
    """Whether a lower layer has `name` in `parent`, so that deleting it needs a whiteout."""
    if parent.index is not None:
        return parent.index.lower(name)
    upper = parent.upper
    if upper is not None and union.dialect.is_hidden(union.fds.fd(upper), name):
        return False
    lower = [part for part in parent.parts if not part.layer.is_upper]
    return find(union.fds, union.dialect, lower, union.root.parts, name) is not None
