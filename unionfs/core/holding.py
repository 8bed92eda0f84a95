"""Which nodes are in memory, and why: names, open handles and the carrier's references come and go."""

import os

from unionfs.core import checks, objects
from unionfs.core.inodes import Dir, File, Handle, Node
from unionfs.core.union import Union
from unionfs.linux.at import At


def add_handle(union: Union, handle: Handle) -> int:
    """Number a new open file, and let its node know it."""
    fh = next(union.new_handle)
    union.handles[fh] = handle
    handle.node.handles += (handle,)
    handle.node.opens += 1
    return fh


def add_name(node: File, parent: Dir, name: bytes) -> None:
    """`name` of `parent` now means `node`."""
    node.names += ((parent, name),)
    parent.children[name] = node
    if node.fd >= 0:
        os.close(node.fd)
        node.fd = -1


def drop_name(node: File, parent: Dir, name: bytes) -> None:
    """`name` of `parent` doesn't mean `node` any more."""
    node.names = tuple(known for known in node.names if known != (parent, name))


def hold(union: Union, node: Node) -> int:
    """An O_PATH descriptor by which `node` can be reached when it loses its last known name; -1: not needed."""
    if isinstance(node, Dir):
        union.fds.pin(node.parts[0])
        return -1
    assert isinstance(node, File)
    last = len(node.names) == 1 and node.lower is None and node.index_name is None
    return objects.locate(union, node).open(os.O_PATH) if last and (node.lookups or node.opens) else -1


def name_removed(union: Union, node: File, parent: Dir, name: bytes, held: int) -> None:
    """`name` of `parent` no longer means `node`, and its object is gone; `held` is what `hold` gave before."""
    drop_name(node, parent, name)
    parent.children.pop(name, None)
    if node.lower is not None:
        node.nlink_diff -= 1
        if node.link_name is not None:
            checks.writable(union).lose_links(node.link_name, -node.nlink_diff)
    elif node.index_name is not None and not node.names:
        _leave_index(union, node)
    if held >= 0:
        node.fd = held
    forget(union, node)


def _leave_index(union: Union, node: File) -> None:
    """Take a lower hard link out of the index when its last name in the union is gone. Kernel: ovl_cleanup_index().

    Never fails: the name is gone, and an object in the index that has no name harms nobody.
    """
    index = checks.writable(union).index
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
            for parent, _ in node.names:
                if not parent.lookups and union.inodes.get(parent.ino) is parent:  # not gone with another name
                    forget(union, parent)
            return
        node = above


def _drop_dir(union: Union, node: Dir) -> None:
    union.inodes.remove(node)
    for part in node.parts:
        if node.dead and part.fd >= 0:
            union.put_away(union.fds.take(part))
        else:
            union.fds.drop(part)
    if node.parent is not None and node.parent.children.get(node.name) is node:
        del node.parent.children[node.name]


def _drop_file(union: Union, node: File) -> None:
    union.inodes.remove(node)
    for parent, name in node.names:
        if parent.children.get(name) is node:
            del parent.children[name]
    if node.fd >= 0:
        union.put_away(node.fd)
        node.fd = -1
