"""From names to nodes, and from nodes to the objects of layers that stand behind them."""

import errno
import os
from collections.abc import Sequence

from unionfs.core import override
from unionfs.core.dialect import NLINK, ORIGIN
from unionfs.core.index import DirIndex
from unionfs.core.inodes import Dir, File, Handle, Node, RealId, UpperPart, kind_of, real_id
from unionfs.core.layer import DirPart, Layer
from unionfs.core.model import Caller, Stat, StatLike
from unionfs.core.origin import Source
from unionfs.core.override import Owner
from unionfs.core.stack import Found, find
from unionfs.core.union import Union
from unionfs.core.workdir import Workdir
from unionfs.linux.at import At

_NAME_BYTES = 64
"""About what a name takes in a directory file, so that its st_size tells how many it may have."""
_NAMES_READ_PER_LOOKUP = 32
"""Names that are read from a directory in the time of one lookup in one layer (measured on ext4)."""


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


def child(union: Union, parent: Dir, name: bytes) -> Node:
    """The node called `name` in `parent`. Raises OSError: ENOENT, and those of the layers."""
    return _child(union, parent, name)[0]


def child_attr(union: Union, parent: Dir, name: bytes) -> tuple[Node, StatLike]:
    """As `child`, with its attributes."""
    node, found = _child(union, parent, name)
    if found is None or real_id(found.st) != node.real:  # a lower name of what was copied up through another
        return node, attr(union, node)
    return node, shown(union, node, found.st)


def peek(union: Union, parent: Dir, name: bytes) -> Node | None:
    """As `child`, None where there is no such name."""
    try:
        return child(union, parent, name)
    except FileNotFoundError:
        return None


def _child(union: Union, parent: Dir, name: bytes) -> tuple[Node, Found | None]:
    node = parent.children.get(name)
    if node is not None:
        return node, None
    if len(name) > union.name_max:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)
    found = _find(union, parent, name)
    if found is None:
        raise no_such_name(name)
    return _adopt(union, parent, name, found), found


def _find(union: Union, parent: Dir, name: bytes) -> Found | None:
    if parent.dead or union.dialect.is_reserved(name):
        return None
    holding: Sequence[DirPart] | None = None
    if parent.is_merged and (parent.index is not None or _index_pays(union, parent)):
        entry = listing(union, parent).get(name)
        if entry is None:
            return None
        upper = parent.upper
        holding = (upper, *entry.below) if upper is not None and entry.upper else entry.below
    return find(union.fds, union.dialect, parent.parts, union.lower_roots, name, holding)


def _index_pays(union: Union, parent: Dir) -> bool:
    """Whether to read a merged directory for this lookup, or to look in each of its layers once more.

    `.wh.` files are only found by reading. Otherwise it pays when as much was spent on lookups as reading costs: a
    huge directory isn't read for a few names, nor a small one asked for many, one by one.
    """
    if union.dialect.wh_names:
        return True
    if parent.patience is None:
        size = sum(os.fstat(union.fds.fd(part)).st_size for part in parent.parts)
        parent.patience = size // (_NAME_BYTES * _NAMES_READ_PER_LOOKUP)
    parent.patience -= len(parent.parts)
    return parent.patience < 0


def listing(union: Union, node: Dir) -> DirIndex:
    """The merged listing of `node`, read now if it wasn't yet."""
    if node.index is None:
        node.index = DirIndex.build(union.fds, union.dialect, [] if node.dead else node.parts)
    return node.index


def has_lower(union: Union, parent: Dir, name: bytes) -> bool:
    """Whether a lower layer has `name` in `parent`, so that deleting it needs a whiteout."""
    lower = [part for part in parent.parts if not part.layer.is_upper]
    if not lower:
        return False
    if parent.index is not None or union.dialect.wh_names:
        return listing(union, parent).lower(name)
    return find(union.fds, union.dialect, lower, union.lower_roots, name) is not None


def _adopt(union: Union, parent: Dir, name: bytes, found: Found) -> Node:
    """The node for what `name` was found to mean: one in use (a hard link), or a new one."""
    node = _new_dir(union, parent, name, found) if found.merged else _file(union, parent, name, found)
    parent.children[name] = node
    return node


def _new_dir(union: Union, parent: Dir, name: bytes, found: Found) -> Dir:
    real = real_id(found.st)
    shown = real
    if found.part.layer.is_upper:
        if len(found.merged) > 1:
            shown = real_id(os.fstat(union.fds.fd(found.merged[1])))
        else:
            shown = _origin(union, At(union.fds.fd(found.part), name), found.st)
    node = Dir(_free_number(union, shown), real, parent, name)
    for part in found.merged:
        node.parts.append(UpperPart(part.layer, node) if part.layer.is_upper else part)
    union.inodes.add(node)
    return node


def _free_number(union: Union, real: RealId) -> int:
    ino = union.inodes.number(real)
    return ino if union.inodes.get(ino) is None else union.inodes.unique()


def _file(union: Union, parent: Dir, name: bytes, found: Found) -> File:
    place = At(union.fds.fd(found.part), name)
    if found.part.layer.is_upper:
        node = _upper_file(union, place, found)
    else:
        node = _lower_file(union, place, found)
    add_name(node, parent, name)
    return node


def _upper_file(union: Union, place: At, found: Found) -> File:
    st = found.st
    real = real_id(st)
    origin = union.dialect.get(place, ORIGIN)
    if origin is None and st.st_nlink > 1 and union.workdir is not None and not union.dialect.prefix:
        origin = union.workdir.origin_of(st.st_ino)
    source = _source(union, origin, st)
    used = union.inodes.get(union.inodes.number(source.real))
    if isinstance(used, File) and used.real == real:
        return used
    node = File(_free_number(union, source.real), real, kind_of(st))
    node.data = found.data
    node.lower_links = source.links
    if origin is not None and st.st_nlink > 1 and union.workdir is not None:
        index_name = origin.hex().encode()
        indexed = _stat(At(union.workdir.index, index_name))
        if indexed is not None and real_id(indexed) == real:
            node.index_name = index_name
            node.nlink_diff = _read_nlink_diff(union, place, st.st_nlink, node.lower_links)
    union.inodes.add(node)
    return node


def _origin(union: Union, place: At, st: os.stat_result) -> RealId:
    """What the upper's object at `place` was copied from, or itself."""
    return _source(union, union.dialect.get(place, ORIGIN), st).real


def _source(union: Union, origin: bytes | None, st: os.stat_result) -> Source:
    source = union.origins.decode(origin) if origin is not None else None
    return source if source is not None and source.kind in (0, kind_of(st)) else Source(real_id(st), kind_of(st))


def _lower_file(union: Union, place: At, found: Found) -> File:
    real = real_id(found.st)
    used = union.inodes.get(union.inodes.number(real))
    # a file that was copied up through another of its names is found by the number of the lower one
    if isinstance(used, File) and (used.real == real or used.index_name is not None):
        return used
    node = File(_free_number(union, real), real, kind_of(found.st))
    node.lower_links = found.st.st_nlink
    if found.st.st_nlink > 1 and union.workdir is not None:
        index_name = hard_link_name(union, place, real)
        indexed = _stat(At(union.workdir.index, index_name))
        if indexed is not None:
            node.real = real_id(indexed)
            node.index_name = index_name
            place_indexed = At(union.workdir.index, index_name)
            node.nlink_diff = _read_nlink_diff(union, place_indexed, indexed.st_nlink, node.lower_links)
            if union.dialect.lacks_data(place_indexed, indexed):
                node.data = found.data or (found.part, place.name)
            union.inodes.add(node)
            return node
        node.link_name = index_name
        node.nlink_diff = -union.workdir.lost_links.get(index_name, 0)
    node.lower = found.part, place.name
    node.data = found.data
    union.inodes.add(node)
    return node


def hard_link_name(union: Union, place: At, real: RealId) -> bytes:
    """The name in the index of workdir for the lower object at `place`."""
    origin = union.origins.encode(place, real[0])
    # without file handles the kernel has no index; the number serves us
    return origin.hex().encode() if origin is not None else b"ino-%x" % union.inodes.number(real)


def add_handle(union: Union, handle: Handle) -> int:
    """Number a new open file, and let its node know it."""
    fh = next(union.new_handle)
    union.handles[fh] = handle
    handle.node.handles.append(handle)
    handle.node.opens += 1
    return fh


def add_name(node: File, parent: Dir, name: bytes) -> None:
    """`name` of `parent` now means `node`."""
    node.names.append((parent, name))
    parent.children[name] = node
    if node.fd >= 0:
        os.close(node.fd)
        node.fd = -1


def hold(union: Union, node: Node) -> int:
    """An O_PATH descriptor by which `node` can be reached when it loses its last known name; -1: not needed."""
    if isinstance(node, Dir):
        union.fds.pin(node.parts[0])
        return -1
    assert isinstance(node, File)
    last = len(node.names) == 1 and node.lower is None and node.index_name is None
    return locate(union, node).open(os.O_PATH) if last and (node.lookups or node.opens) else -1


def name_removed(union: Union, node: File, parent: Dir, name: bytes, held: int) -> None:
    """`name` of `parent` no longer means `node`, and its object is gone; `held` is what `hold` gave before."""
    node.names.remove((parent, name))
    parent.children.pop(name, None)
    if node.lower is not None:
        node.nlink_diff -= 1
        if node.link_name is not None:
            writable(union).lose_links(node.link_name, -node.nlink_diff)
    elif node.index_name is not None and not node.names:
        _leave_index(union, node)
    if held >= 0:
        node.fd = held
    forget(union, node)


def _leave_index(union: Union, node: File) -> None:
    """Take a lower hard link out of the index when its last name in the union is gone. Kernel: ovl_cleanup_index().

    Never fails: the name is gone, and an object in the index that has no name harms nobody.
    """
    index = writable(union).index
    assert node.index_name is not None
    place = At(index, node.index_name)
    try:
        if place.stat().st_nlink + node.nlink_diff > 0:
            return
        node.fd = place.open(os.O_PATH)
        os.unlink(node.index_name, dir_fd=index)
    except OSError:
        return
    node.index_name = None
    node.nlink_diff = 0


def bury(union: Union, node: Dir) -> None:
    """The directory `node` was removed; somebody may still hold it. Precondition: `hold` was called before."""
    assert node.parent is not None
    node.parent.children.pop(node.name, None)
    node.dead = True
    node.index = None
    forget(union, node)


def _read_nlink_diff(union: Union, place: At, links: int, lower_links: int) -> int:
    """What the nlink xattr adds to the `links` of the upper object at `place`. Kernel: ovl_get_nlink().

    `U+N` adds N to them, `L+N` to those of the lower object (0: not known). Without it, the one in the index at least
    isn't a name.
    """
    value = union.dialect.get(place, NLINK)
    if value is None or not value.startswith((b"U+", b"U-", b"L+", b"L-")):
        return -1
    try:
        diff = int(value[1:])
    except ValueError:
        return -1
    if value.startswith(b"U"):
        return diff
    return lower_links + diff - links if lower_links else -1


def locate(union: Union, node: Node) -> At:
    """Where the object that holds the metadata of `node` is. Valid until the next yield.

    Raises OSError: those of opening its directory; ESTALE (its name is gone from the layer).
    """
    if isinstance(node, Dir):
        return At(union.fds.fd(node.parts[0]))
    assert isinstance(node, File)
    if node.fd >= 0:
        return At(node.fd)
    if node.lower is not None:
        part, name = node.lower
        return At(union.fds.fd(part), name)
    if node.index_name is not None and union.workdir is not None:
        return At(union.workdir.index, node.index_name)
    if not node.names:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    parent, name = node.names[0]
    assert parent.upper is not None
    return At(union.fds.fd(parent.upper), name)


def locate_data(union: Union, node: File) -> At:
    """Where the object that holds the data of `node` is; the rest as in `locate`."""
    if node.data is None:
        return locate(union, node)
    part, name = node.data
    return At(union.fds.fd(part), name)


def reopened(node: File, place: At) -> dict[Handle, int]:
    """`place`, the copy of `node`, opened once for each handle on the lower file. Raises OSError; none is open then."""
    opened: dict[Handle, int] = {}
    try:
        for handle in node.handles:
            if not handle.is_upper:
                opened[handle] = place.open(handle.flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
    except OSError:
        close(opened)
        raise
    return opened


def close(opened: dict[Handle, int]) -> None:
    """Close what `reopened` opened."""
    for fd in opened.values():
        os.close(fd)


def turn_handles(reopened: dict[Handle, int]) -> None:
    """Put the file of the upper behind the descriptors of those who opened the lower one: they see later writes."""
    for handle, fd in reopened.items():
        os.dup2(fd, handle.fd, inheritable=False)
        os.close(fd)
        handle.is_upper = True


def attr(union: Union, node: Node) -> StatLike:
    """The attributes of `node`, links counted as the union has them. Raises OSError of the layer."""
    return shown(union, node, locate(union, node).stat())


def holder(union: Union, node: Node) -> Layer:
    """The layer of the object that holds the metadata of `node`."""
    if isinstance(node, Dir):
        return node.parts[0].layer
    assert isinstance(node, File)
    return union.layers[0] if node.lower is None else node.lower[0].layer


def override_of(union: Union, node: Node) -> Owner | None:
    """What an xattr says of owner and mode of `node`, if it is in a layer that has them there."""
    key = holder(union, node).override
    return override.read(locate(union, node), key) if key else None


def give_new(union: Union, place: At, directory: At, caller: Caller) -> None:
    """Let what was just made at `place`, for the upper's `directory`, belong to `caller` where an xattr says so."""
    if union.ids is not None and union.ids.key:
        owner = union.ids.creator(caller)
        override.give_new(place, union.ids.key, directory, owner.uid, owner.gid)


def shown(union: Union, node: Node, st: StatLike) -> StatLike:
    """`st` of the object behind `node`, with the links that the union has and the owner that users see."""
    if union.ids is not None:
        st = union.ids.shown(st, holder(union, node), override_of(union, node))
    if isinstance(node, Dir):
        if node.dead:
            return Stat.with_nlink(st, 0)
        return Stat.with_nlink(st, 1) if node.is_merged or union.options.static_nlink else st
    assert isinstance(node, File)
    if node.data is not None:
        blocks = locate_data(union, node).stat().st_blocks
        return Stat.with_nlink(st, max(0, st.st_nlink + node.nlink_diff))._replace(st_blocks=blocks)
    return Stat.with_nlink(st, max(0, st.st_nlink + node.nlink_diff)) if node.nlink_diff else st


def forget(union: Union, node: Node) -> None:
    """Drop `node` from memory if nobody holds it; what is on disk brings it back."""
    while not node.lookups and not node.opens and node is not union.root:
        if isinstance(node, Dir):
            if node.children:
                return
            _drop_dir(union, node)
            if node.parent is None or node.dead:
                return
            above: Dir = node.parent
        else:
            assert isinstance(node, File)
            if node.copying is not None:
                return
            _drop_file(union, node)
            return
        node = above


def _drop_dir(union: Union, node: Dir) -> None:
    union.inodes.remove(node)
    for part in node.parts:
        union.fds.drop(part)
    if node.parent is not None and node.parent.children.get(node.name) is node:
        del node.parent.children[node.name]


def _drop_file(union: Union, node: File) -> None:
    union.inodes.remove(node)
    for parent, name in node.names:
        if parent.children.get(name) is node:
            del parent.children[name]
    if node.fd >= 0:
        os.close(node.fd)
        node.fd = -1


def _stat(place: At) -> os.stat_result | None:
    try:
        return place.stat()
    except FileNotFoundError:
        return None
