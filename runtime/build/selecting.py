"""What COPY and ADD select: the objects of a context, a stage or an image, and what each will be in the layer.

It is known before the layer's parent is looked at, so that it can be a key of the cache (digest).
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from runtime.build.errors import BuildError
from runtime.build.trees import Place, Tree
from runtime.image.tar.members import BLOCK, CHAR, DIRECTORY, FILE, KINDS, SYMLINK, Member
from unionfs.core import inodes
from unionfs.core.dialect import WH_PREFIX

_CHUNK_BYTES = 1 << 20
_KEPT_XATTRS = (b"user.", b"security.capability")


class Attributes(NamedTuple):
    """What is copied gets; None: what its source has."""

    owner: tuple[int, int] | None = None
    mode: int | None = None
    newest_ns: int | None = None
    """No time is later than this."""


class Item(NamedTuple):
    """One object to be copied."""

    member: Member
    """Its name is relative to what was selected; empty for that itself."""
    tree: Tree | None
    node: inodes.Node | None
    data: bytes = b""
    """Of a file that is in no tree."""
    replaces: bool = True
    """Whether a directory gives its attributes to one that is there already."""
    walk: object = None
    """What was selected with it: names of one file are so in the layer too, if one source has both of them."""

    def pieces(self) -> Iterator[bytes]:
        """The content of a file."""
        if self.tree is None or self.node is None:
            yield self.data
            return
        left, offset = self.member.size, 0
        with self.tree.open(self.node) as fd:
            while left:
                data = os.pread(fd, min(left, _CHUNK_BYTES), offset)
                if not data:
                    raise BuildError(f"{os.fsdecode(self.member.name)}: it shrank while it was read")
                yield data
                left, offset = left - len(data), offset + len(data)


class Selection(NamedTuple):
    """One source: an object with all below it."""

    items: list[Item]
    """The object itself first, directories before what is in them."""
    name: bytes
    """What it is called if it goes into a directory; of a directory, whose content is what is copied, empty."""
    overrides: bool = False
    """Whether it takes the place of whatever is in its way, as an archive does."""


def select(tree: Tree, path: bytes, attributes: Attributes, excluded: Callable[[bytes], bool]) -> Selection | None:
    """What `path` leads to in `tree`; None: it isn't there. Raises BuildError, OSError."""
    place = tree.find(path)
    if place.node is None or tree.ignore.excludes(place.path):
        return None
    items = list(_walk(tree, place, attributes, excluded))
    is_directory = isinstance(place.node, inodes.Dir)
    name = b"" if is_directory else path.rstrip(b"/").rpartition(b"/")[2]
    return Selection(items, name)


def with_parents(selection: Selection, tree: Tree, path: bytes, depth: int, attributes: Attributes) -> Selection:
    """What `path` led to, in the directories that are above it, but for the first `depth` of them."""
    parts = path.split(b"/")
    above = [(tree.find(b"/".join(parts[:count])).node, parts[depth:count]) for count in range(depth, len(parts))]
    items = [item_of(tree, node, b"/".join(names), attributes) for node, names in above if node is not None]
    below = b"/".join(parts[depth:])
    for item in selection.items:
        name = join(below, item.member.name) if item.member.name else below
        items.append(item._replace(member=item.member._replace(name=name)))
    return Selection([item for item in items if item is not None], b"")


def without_top(selection: Selection, attributes: Attributes) -> Selection:
    """The same, but the directory whose content it is says nothing of the one that may have to be made for that."""
    top, *below = selection.items
    if top.member.kind != DIRECTORY:
        return selection
    mode = 0o755 if attributes.mode is None else attributes.mode
    member = top.member._replace(mode=mode, uid=0, gid=0, xattrs={})
    return selection._replace(items=[top._replace(member=member), *below])


def select_data(name: bytes, data: bytes, mtime_ns: int, attributes: Attributes, mode: int = 0o644) -> Selection:
    """A file of that content."""
    member = Member(FILE, b"", mode, 0, 0, len(data), mtime_ns, 0, b"", (0, 0), {}, None)
    return Selection([Item(_dressed(member, attributes), None, None, data)], name)


def owned(selection: Selection, owner: tuple[int, int]) -> Selection:
    """The same, but all of it somebody's."""
    items = [item._replace(member=item.member._replace(uid=owner[0], gid=owner[1])) for item in selection.items]
    return selection._replace(items=items)


def _walk(tree: Tree, top: Place, attributes: Attributes, excluded: Callable[[bytes], bool]) -> Iterator[Item]:
    """`top` and what is below it, less what is excluded; a directory left out is in if something in it is."""
    waiting: list[tuple[bytes, inodes.Node | None]] = [(b"", top.node)]
    pending: list[Item] = []
    walk = object()
    while waiting:
        path, node = waiting.pop()
        whole = join(top.path, path) if path else top.path
        if node is None or (path and (tree.ignore.prunes(whole) or excluded(path))):
            continue
        item = item_of(tree, node, path, attributes)
        if item is None:
            continue
        item = item._replace(walk=walk)
        pending = [one for one in pending if not one.member.name or path.startswith(one.member.name + b"/")]
        if not path or not tree.ignore.excludes(whole):
            yield from pending
            yield item
            pending = []
        elif isinstance(node, inodes.Dir):
            pending.append(item)
        if isinstance(node, inodes.Dir):
            waiting += [(join(path, name), tree.child(node, name)) for name in reversed(tree.names(node))]


def item_of(tree: Tree, node: inodes.Node, path: bytes, attributes: Attributes) -> Item | None:
    """An object of a tree, to be called `path`; None: it can't be in an archive. Raises BuildError."""
    st = tree.stat(node)
    kind = KINDS.get(stat.S_IFMT(st.st_mode))
    if kind is None:
        return None  # a socket: who listened is gone
    if path.rpartition(b"/")[2].startswith(WH_PREFIX):
        raise BuildError(f"{os.fsdecode(path)}: a layer can't hold a file of that name, which means a deletion")
    target = tree.readlink(node) if kind == SYMLINK else b""
    device = (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in (CHAR, BLOCK) else (0, 0)
    xattrs = {key: value for key, value in tree.xattrs(node).items() if key.startswith(_KEPT_XATTRS)}
    size = st.st_size if kind == FILE else 0
    mode = stat.S_IMODE(st.st_mode)
    member = Member(kind, path, mode, st.st_uid, st.st_gid, size, st.st_mtime_ns, 0, target, device, xattrs, None)
    return Item(_dressed(member, attributes), tree, node)


def _dressed(member: Member, attributes: Attributes) -> Member:
    uid, gid = attributes.owner or (member.uid, member.gid)
    mode = attributes.mode if attributes.mode is not None and member.kind != SYMLINK else member.mode
    mtime_ns = member.mtime_ns if attributes.newest_ns is None else min(member.mtime_ns, attributes.newest_ns)
    return member._replace(uid=uid, gid=gid, mode=mode, mtime_ns=mtime_ns)


def digest(selections: Iterable[Selection]) -> str:
    """Of all that the layer will say of them but times."""
    whole = hashlib.sha256()
    for name, item in ((selection.name, item) for selection in selections for item in selection.items):
        member = item.member
        content = hashlib.sha256()
        if member.kind == FILE:
            for piece in item.pieces():
                content.update(piece)
        xattrs = sorted(member.xattrs.items())
        said = (name, member.name, member.kind, member.mode, member.uid, member.gid, member.target, member.device)
        whole.update(repr((said, xattrs, item.replaces, content.digest())).encode())
    return whole.hexdigest()


def join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
