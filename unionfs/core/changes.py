"""What an upper layer changes in the tree below it, found by reading the directories that the upper has, no others.

Except when it changed a lower file that has several names: the others have changed with it, wherever they are.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from unionfs.core import tree
from unionfs.core.inodes import Dir, File, Node
from unionfs.core.opening import open_union
from unionfs.core.options import UnionOptions
from unionfs.core.union import Union
from unionfs.linux.at import At


class Change(NamedTuple):
    """One path that differs: A (added), C (changed) or D (deleted), as `docker diff` has it."""

    kind: Literal["A", "C", "D"]
    path: bytes
    """Absolute in the union."""


def changes(
    upper: bytes, workdir: bytes, lower: Sequence[bytes], dialect: Literal["auto", "overlay", "oci"]
) -> Iterator[Change]:
    """The differences that `upper`, written with `workdir`, makes over `lower` (uppermost first), sorted by path.

    A directory that the upper has is changed, and so is one that a change is in. All of it may be in use.
    Raises UnionError (a layer can't be opened), OSError (it can't be read).
    """
    options = UnionOptions(lower=tuple(lower), dialect=dialect)
    before = open_union(options)
    try:
        after = open_union(options._replace(lower=(upper, *lower), lower_workdir=workdir))
        try:
            aliases = _with_directories(_aliases(after))
            yield from _Comparison(before, after, aliases).directory(before.root, after.root)
        finally:
            after.close()
    finally:
        before.close()


class _Comparison:
    """Two read-only unions; the uppermost layer of `after` is the upper."""

    def __init__(self, before: Union, after: Union, aliases: set[bytes]) -> None:
        self.before = before
        self.after = after
        self.aliases = aliases
        """Paths that differ though the upper hasn't them, and the directories on the way there."""

    def directory(self, old: Dir, new: Dir) -> Iterator[Change]:
        """Changes below one directory that both have."""
        was, now = tree.listing(self.before, old), tree.listing(self.after, new)
        merges = _same_places(old, new)
        names = {name for _, name in was.after(0)} | {name for _, name in now.after(0)}
        for name in sorted(names):
            path = b"/" + os.path.join(new.path(), name)
            entry = now.get(name)
            if entry is None:
                yield Change("D", path)
            elif was.get(name) is None:
                yield from self._added(tree.child(self.after, new, name), path)
            elif not merges or entry.below[0].layer.index == 1 or path in self.aliases:
                yield from self._both(tree.child(self.before, old, name), tree.child(self.after, new, name), path)

    def _both(self, old: Node, new: Node, path: bytes) -> Iterator[Change]:
        if old.real == new.real and path not in self.aliases:
            return
        yield Change("C", path)
        if isinstance(new, Dir):
            if isinstance(old, Dir):
                yield from self.directory(old, new)
            else:
                yield from self._children(new, path)

    def _added(self, node: Node, path: bytes) -> Iterator[Change]:
        yield Change("A", path)
        if isinstance(node, Dir):
            yield from self._children(node, path)

    def _children(self, node: Dir, path: bytes) -> Iterator[Change]:
        for name in sorted(name for _, name in tree.listing(self.after, node).after(0)):
            yield from self._added(tree.child(self.after, node, name), path + b"/" + name)


def _same_places(old: Dir, new: Dir) -> bool:
    """Whether the lower content of `new` is all that `old` is made of: neither opaque nor moved here."""
    lower = [part.path for part in new.parts if part.layer.index != 1]
    return lower == [part.path for part in old.parts]


def _aliases(union: Union) -> Iterator[bytes]:
    """The lower names of files that were copied up by another name.

    Which they are no layer says: if there are such files at all, everything is looked through.
    """
    waiting = [union.root] if union.index is not None else []
    while waiting:
        directory = waiting.pop()
        listing = tree.listing(union, directory)
        for _, name in listing.after(0):
            entry = listing.get(name)
            assert entry is not None
            st = At(union.fds.fd(entry.below[0]), name).stat()
            if not stat.S_ISDIR(st.st_mode) and st.st_nlink == 1:
                continue
            node = tree.child(union, directory, name)
            if isinstance(node, Dir):
                waiting.append(node)
            elif isinstance(node, File) and node.index_name is not None:
                yield b"/" + os.path.join(directory.path(), name)


def _with_directories(paths: Iterator[bytes]) -> set[bytes]:
    found = set()
    for path in paths:
        while path:
            found.add(path)
            path = path.rpartition(b"/")[0]
    return found
