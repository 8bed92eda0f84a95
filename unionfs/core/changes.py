"""What an upper layer changes in the tree below it, found by reading the directories that the upper has, no others."""

import os
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from unionfs.core import tree
from unionfs.core.inodes import Dir, Node
from unionfs.core.opening import open_union
from unionfs.core.options import UnionOptions
from unionfs.core.union import Union


class Change(NamedTuple):
    """One path that differs: A (added), C (changed) or D (deleted), as `docker diff` has it."""

    kind: Literal["A", "C", "D"]
    path: bytes
    """Absolute in the union."""


def changes(upper: bytes, lower: Sequence[bytes], dialect: Literal["auto", "overlay", "oci"]) -> Iterator[Change]:
    """The differences that `upper` makes over the layers `lower` (uppermost first), sorted by path.

    A directory that the upper has is changed; one that it doesn't have isn't read. The layers may be in use.
    Raises UnionError (a layer can't be opened), OSError (it can't be read).
    """
    options = UnionOptions(lower=tuple(lower), dialect=dialect)
    before = open_union(options)
    try:
        after = open_union(options._replace(lower=(upper, *lower)))
        try:
            yield from _Comparison(before, after).directory(before.root, after.root)
        finally:
            after.close()
    finally:
        before.close()


class _Comparison:
    """Two read-only unions; the uppermost layer of `after` is the upper."""

    def __init__(self, before: Union, after: Union) -> None:
        self.before = before
        self.after = after

    def directory(self, old: Dir, new: Dir) -> Iterator[Change]:
        """Changes below one directory that both have, and in which the upper has a share."""
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
            elif not merges or entry.below[0].layer.index == 1:
                yield from self._both(tree.child(self.before, old, name), tree.child(self.after, new, name), path)

    def _both(self, old: Node, new: Node, path: bytes) -> Iterator[Change]:
        if old.real == new.real:
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
