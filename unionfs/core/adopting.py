"""New nodes for objects found in layers: their numbers, and the hard links that share one."""

import os

from unionfs.core import holding
from unionfs.core.dialect import NLINK, ORIGIN
from unionfs.core.inodes import Dir, File, Node, RealId, UpperPart, kind_of, real_id
from unionfs.core.origin import Source
from unionfs.core.stack import Found
from unionfs.core.union import Union
from unionfs.linux.at import At


def adopt(union: Union, parent: Dir, name: bytes, found: Found) -> Node:
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
    if found.part.layer.is_upper:
        node = _upper_file(union, At(union.fds.fd(found.part), name), found)
    else:
        node = _lower_file(union, name, found)
    holding.add_name(node, parent, name)
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
    if origin is not None and st.st_nlink > 1 and union.index is not None:
        index_name = origin.hex().encode()
        indexed = _stat(At(union.index, index_name))
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


def _lower_file(union: Union, name: bytes, found: Found) -> File:
    real = real_id(found.st)
    number = union.inodes.number(real)
    used = union.inodes.get(number)
    if used is not None:
        # a file that was copied up through another of its names is found by the number of the lower one
        if isinstance(used, File) and (used.real == real or used.index_name is not None):
            return used
        number = union.inodes.unique()
    node = File(number, real, kind_of(found.st))
    node.lower_links = found.st.st_nlink
    if found.st.st_nlink > 1 and union.index is not None:
        place = At(union.fds.fd(found.part), name)
        index_name = hard_link_name(union, place, real)
        indexed = _stat(At(union.index, index_name))
        if indexed is not None:
            node.real = real_id(indexed)
            node.index_name = index_name
            place_indexed = At(union.index, index_name)
            node.nlink_diff = _read_nlink_diff(union, place_indexed, indexed.st_nlink, node.lower_links)
            if union.dialect.lacks_data(place_indexed, indexed):
                node.data = found.data or (found.part, name)
            union.inodes.add(node)
            return node
        if union.workdir is not None:
            node.link_name = index_name
            node.nlink_diff = -union.workdir.lost_links.get(index_name, 0)
    node.lower = found.part, name
    node.data = found.data
    union.inodes.add(node)
    return node


def hard_link_name(union: Union, place: At, real: RealId) -> bytes:
    """The name in the index of workdir for the lower object at `place`."""
    origin = union.origins.encode(place, real[0])
    # without file handles the kernel has no index; the number serves us
    return origin.hex().encode() if origin is not None else b"ino-%x" % union.inodes.number(real)


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


def _stat(place: At) -> os.stat_result | None:
    try:
        return place.stat()
    except FileNotFoundError:
        return None
