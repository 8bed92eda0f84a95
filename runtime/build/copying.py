"""COPY, ADD and WORKDIR: the layer is an archive written straight from the sources; nothing is mounted or copied first.

Where what was selected goes depends on the parent's tree: symlinks in the destination are followed inside it,
directories that are there keep their attributes unless what is copied holds them itself.
"""

import os
from collections.abc import Callable, Iterable

from runtime.build.errors import BuildError
from runtime.build.selecting import Attributes, Item, Selection, item_of, join
from runtime.build.trees import Tree
from runtime.image.tar.members import DIRECTORY, FILE, LINK, Member
from runtime.image.tar.writer import TarWriter
from unionfs.core import inodes


class Draft:
    """The layer being made over a parent's tree."""

    def __init__(self, parent: Tree, new_ns: int, owner: tuple[int, int] = (0, 0)) -> None:
        """`new_ns`, `owner`: of directories that are made because something goes into them."""
        self._parent = parent
        self._new = Member(DIRECTORY, b"", 0o755, *owner, 0, new_ns, 0, b"", (0, 0), {}, None)
        self._items: dict[bytes, Item] = {}
        self._nodes: dict[bytes, inodes.Node | None] = {b"": parent.find(b"").node}

    def copy(self, selections: Iterable[Selection], destination: bytes, *, into: bool) -> None:
        """Put each at `destination`, an absolute path; `into`: that is a directory, which is made if it is missing.

        Raises BuildError, OSError.
        """
        for selection in selections:
            place = self._parent.find(destination)
            if selection.name and (into or self._is_directory(place.path)):
                place = self._parent.find(place.path + b"/" + selection.name)
            where = {b"": place.path}
            for item in selection.items:
                above, _, name = item.member.name.rpartition(b"/")
                path = join(where[above], name) if name else place.path
                if item.member.kind == DIRECTORY:
                    where[item.member.name] = self._add_directory(path, item, selection.overrides)
                else:
                    self._add(path, item, selection.overrides)

    def make_directory(self, path: bytes) -> None:
        """A directory, with those above it, as far as they are missing. Raises BuildError, OSError."""
        place = self._parent.find(path)
        if place.node is None:
            self._put(place.path, Item(self._new, None, None))
        elif not isinstance(place.node, inodes.Dir):
            raise BuildError(f"/{os.fsdecode(place.path)} is not a directory")

    def write(self, write: Callable[[bytes], object]) -> None:
        """Write the archive."""
        archive = TarWriter(write)
        names: dict[tuple[int, int], bytes] = {}
        for path, item in sorted(self._items.items(), key=lambda pair: pair[0].split(b"/")):
            member = item.member._replace(name=path + b"/" if item.member.kind == DIRECTORY else path)
            if item.node is not None and member.kind == FILE:
                first = names.setdefault((id(item.walk), item.node.ino), path)
                if first != path:
                    archive.add(member._replace(kind=LINK, size=0, target=first, xattrs={}))
                    continue
            archive.add(member)
            if member.size:
                for piece in item.pieces():
                    archive.content(piece)
        archive.close()

    @property
    def is_empty(self) -> bool:
        return not self._items

    def _add(self, path: bytes, item: Item, overrides: bool) -> None:
        if not path or (self._is_directory(path) and not overrides):
            raise BuildError(f"cannot replace the directory /{os.fsdecode(path)} by a file")
        if path in self._items and self._is_directory(path):
            for below in [one for one in self._items if one.startswith(path + b"/")]:
                del self._items[below]
        self._put(path, item)

    def _add_directory(self, path: bytes, item: Item, overrides: bool) -> bytes:
        """Where what is in it goes."""
        if self._is_directory(path):
            if item.member.name and item.replaces:
                self._put(path, item)
            return path
        found = None if path in self._items else self._node(path)
        if found is not None and not overrides:
            raise BuildError(f"cannot copy a directory to /{os.fsdecode(path)}, which is none")
        if found is not None and not item.replaces:
            place = self._parent.find(path)
            if isinstance(place.node, inodes.Dir):
                return place.path
        self._put(path, item)
        return path

    def _put(self, path: bytes, item: Item) -> None:
        """Add one object, and the directories above it: an archive says of each what it is."""
        above = path
        while (above := above.rpartition(b"/")[0]) and above not in self._items:
            node = self._node(above)
            if isinstance(node, inodes.Dir):
                known = item_of(self._parent, node, above, Attributes())
                assert known is not None
                self._items[above] = known._replace(member=known.member._replace(xattrs=self._parent.xattrs(node)))
            else:
                self._items[above] = Item(self._new, None, None)
        self._items[path] = item

    def _is_directory(self, path: bytes) -> bool:
        if path in self._items:
            return self._items[path].member.kind == DIRECTORY
        return isinstance(self._node(path), inodes.Dir)

    def _node(self, path: bytes) -> inodes.Node | None:
        """What the parent has at `path`; symlinks aren't followed."""
        if path not in self._nodes:
            above, _, name = path.rpartition(b"/")
            node = self._node(above)
            self._nodes[path] = None if node is None else self._parent.child(node, name)
        return self._nodes[path]
