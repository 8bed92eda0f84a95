"""From nodes to the objects of layers that stand behind them: where they are, and what attributes they show."""

import errno
import os

from unionfs.core import override
from unionfs.core.inodes import Dir, File, Handle, Node
from unionfs.core.layer import Layer
from unionfs.core.model import Caller, Stat, StatLike
from unionfs.core.override import Owner
from unionfs.core.union import Union
from unionfs.linux.at import At

NOT_FOR_LAYER = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_DIRECT | os.O_TRUNC
"""Open flags that aren't passed to the layer's file: the kernel above has dealt with them, or positions its writes."""


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
    if node.index_name is not None and union.index is not None:
        return At(union.index, node.index_name)
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
                opened[handle] = place.open(handle.flags & ~NOT_FOR_LAYER)
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
        if handle.fd < 0:
            handle.fd = fd
        else:
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
