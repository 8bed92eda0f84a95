"""Verbs on regular files: open, release, fsync, and taking set-id bits away before a stranger's write.

Reading and writing is the carrier's: it works on the handle's descriptor.
"""

import errno
import os
import stat

from unionfs.core import copyup, holding, immutable, objects, privileges
from unionfs.core.inodes import File, Handle, Node
from unionfs.core.model import Caller
from unionfs.core.union import Union
from unionfs.core.work import Steps, syncing
from unionfs.linux.at import At


def open_file(union: Union, node: Node, flags: int, caller: Caller) -> Steps[int]:
    """Open a regular file and give its handle; opening for writing copies it up, O_TRUNC without its data.

    Raises OSError: EISDIR, EINVAL (no regular file), EROFS, and those of copy-up and of the layer.
    """
    file = regular(node)
    if not writes(flags):
        return open_to_read(union, file, flags)
    immutable.check(union, file, appends=bool(flags & os.O_APPEND) and not flags & os.O_TRUNC)
    file.opens += 1  # it may lose its names while it is copied
    try:
        yield from copyup.upper_file(union, file, 0 if flags & os.O_TRUNC else None)
        place = objects.locate(union, file)
        fd = _open_for_writing(place, flags)
    finally:
        file.opens -= 1
    handle = Handle(fd, file, flags, is_upper=file.is_upper, privileged=caller.uid == 0)
    fh = holding.add_handle(union, handle)
    if flags & os.O_TRUNC and handle.kill_priv:
        try:
            kill_priv(union, handle)
        except OSError:
            release(union, fh)
            raise
    return fh


def writes(flags: int) -> bool:
    """Whether to open a file so may change it."""
    return bool(flags & (os.O_ACCMODE | os.O_TRUNC))


def open_to_read(union: Union, node: Node, flags: int) -> int:
    """Open a regular file with `flags` that change nothing; in its lower layer only if it wasn't opened there before.

    Raises OSError: EISDIR, EINVAL (no regular file), and those of the layer.
    """
    file = regular(node)
    handle = Handle(-1, file, flags, is_upper=file.is_upper, privileged=True)
    if handle.is_upper or not file.was_opened:
        open_late(union, handle)
    return holding.add_handle(union, handle)


def open_late(union: Union, handle: Handle) -> None:
    """Open the descriptor of `handle`. Raises OSError of the layer."""
    handle.fd = objects.locate_data(union, handle.node).open(handle.flags & ~objects.NOT_FOR_LAYER)


def _open_for_writing(place: At, flags: int) -> int:
    passed_on = flags & ~objects.NOT_FOR_LAYER | flags & os.O_TRUNC
    try:
        return place.open(passed_on)
    except PermissionError:
        if not flags & os.O_APPEND:
            raise
        return place.open(passed_on | os.O_APPEND)  # chattr +a: what the kernel above writes is at the end anyway


def regular(node: Node) -> File:
    """`node` as a regular file. Raises OSError: EISDIR, EINVAL."""
    if not isinstance(node, File):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if node.kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return node


def release(union: Union, fh: int) -> None:
    """Close the handle."""
    handle = union.handles.pop(fh)
    if handle.fd >= 0:
        os.close(handle.fd)
    node = handle.node
    node.handles = tuple(other for other in node.handles if other is not handle) if node.opens > 1 else ()
    node.opens -= 1
    holding.forget(union, node)


def fsync(union: Union, fh: int, datasync: bool) -> Steps[None]:
    """Sync a file of the upper, or what the upper has of it; a success without work when volatile.

    Nothing is to be done for a file of a lower layer, nor for data that is there still.
    """
    handle = union.handles[fh]
    node = handle.node
    if union.options.volatile or node.lower is not None or (datasync and not handle.is_upper):
        return
    # the handle may be released meanwhile
    yield syncing(os.dup(handle.fd) if handle.is_upper else objects.locate(union, node).open(os.O_RDONLY), datasync)


def kill_priv(union: Union, handle: Handle) -> None:
    """Take set-id bits and capabilities from a file that one without CAP_FSETID is about to write."""
    drop_set_id(union, handle.node)


def drop_set_id(union: Union, node: File) -> None:
    """Take set-id bits and capabilities from a file of the upper."""
    place = objects.locate(union, node)
    privileges.drop_set_id(place, place.stat(), union.layers[0].override)
    node.set_id = False
    union.changed.append(node)
