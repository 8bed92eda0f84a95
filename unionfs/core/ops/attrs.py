"""Verbs that change attributes: setattr; and those on extended attributes."""

import errno
import os
import stat

from unionfs.core import checks, copyup, immutable, objects, override, privileges
from unionfs.core.ids import acl_mode
from unionfs.core.inodes import Dir, File, Handle, Node
from unionfs.core.model import Caller, SetAttr, StatLike
from unionfs.core.union import Union
from unionfs.core.work import Steps
from unionfs.linux.at import At

_TRUSTED_FAMILY = b"trusted."
_ACL_FAMILY = b"system.posix_acl_"
_ACCESS_ACL = b"system.posix_acl_access"


def setattr(
    union: Union, node: Node, change: SetAttr, caller: Caller, handle: Handle | None = None
) -> Steps[tuple[Node, StatLike]]:
    """Change attributes and give all of them as they are then.

    The object is copied up first, of a file that is cut short only what remains.
    Raises OSError: EROFS, EINVAL (an owner who isn't mapped), and those of copy-up and of the upper.
    """
    immutable.check(union, node)
    uid, gid = -1 if change.uid is None else change.uid, -1 if change.gid is None else change.gid
    if union.ids is not None:
        uid, gid = union.ids.stored_owner(change.uid, change.gid)
    if not isinstance(node, File) or not node.is_upper:
        yield from _to_upper(union, node, change.size, data=change.size is not None)
    place = objects.locate(union, node)
    if change.size is not None:
        _truncate(union, node, place, change.size, caller, handle)
    if change.uid is not None or change.gid is not None or change.mode is not None:
        _change_owner(union, place, uid, gid, change.mode)
        if isinstance(node, File) and (change.mode or 0) & privileges.SET_ID:
            node.set_id = True
    if change.atime_ns is not None or change.mtime_ns is not None:
        atime_ns, mtime_ns = change.atime_ns, change.mtime_ns
        if atime_ns is None:
            atime_ns = place.stat().st_atime_ns
        if mtime_ns is None:
            mtime_ns = place.stat().st_mtime_ns
        place.utime(atime_ns, mtime_ns)
    return node, objects.attr(union, node)


def _change_owner(union: Union, place: At, uid: int, gid: int, mode: int | None) -> None:
    if union.ids is not None and union.ids.key:
        override.change(place, union.ids.key, uid, gid, mode)
        return
    if (uid, gid) != (-1, -1):
        place.chown(uid, gid)
    if mode is not None:
        place.chmod(stat.S_IMODE(mode))


def _to_upper(union: Union, node: Node, size: int | None = None, *, data: bool = False) -> Steps[None]:
    checks.writable(union)
    if isinstance(node, Dir):
        if node.dead and node.upper is None:
            raise checks.no_such_name(node.name)
        copyup.upper_dir(union, node)
    elif isinstance(node, File):
        node.opens += 1  # it may lose its names while it is copied
        try:
            yield from copyup.upper_file(union, node, size, data=data)
        finally:
            node.opens -= 1


def _truncate(union: Union, node: Node, place: At, size: int, caller: Caller, handle: Handle | None) -> None:
    if not isinstance(node, File):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if handle is not None and handle.is_upper and handle.flags & os.O_ACCMODE != os.O_RDONLY:
        os.ftruncate(handle.fd, size)
    else:
        place.truncate(size)
    if caller.uid != 0 and node.set_id:
        privileges.drop_set_id(place, place.stat(), union.layers[0].override)
        node.set_id = False


def getxattr(union: Union, node: Node, key: bytes) -> bytes:
    """The value of the users' xattr `key`. Raises OSError: ENODATA, EOPNOTSUPP."""
    _check_key(union, key)
    if key == privileges.CAPABILITY and isinstance(node, File) and not node.set_id:
        # known to have none: the kernel asks before each first write and change of owner
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
    try:
        value = objects.locate(union, node).getxattr(_stored(union, key, errno.ENODATA))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP and key.startswith(_ACL_FAMILY):
            # of a layer without ACLs: to the kernel, EOPNOTSUPP here means that permissions can't be told
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA)) from None
        raise
    if union.ids is None or not key.startswith(_ACL_FAMILY):
        return value
    owner = objects.override_of(union, node) if key == _ACCESS_ACL else None
    return union.ids.shown_acl(value, objects.holder(union, node), owner)


def listxattr(union: Union, node: Node, caller: Caller | None = None) -> list[bytes]:
    """The keys that users may see; `trusted.` ones only those with privilege. Marks of the layers are hidden."""
    if not union.options.xattrs:
        return []
    privileged = caller is None or caller.uid == 0
    keys = []
    for stored in objects.locate(union, node).listxattr():
        key = union.dialect.shown(stored)
        if key is None or (key.startswith(_TRUSTED_FAMILY) and not privileged):
            continue
        if union.options.acl or not key.startswith(_ACL_FAMILY):
            keys.append(key)
    return keys


def setxattr(union: Union, node: Node, key: bytes, value: bytes, flags: int = 0) -> Steps[None]:
    """Set an xattr; `flags` as setxattr(2). Raises OSError: EEXIST, ENODATA, EPERM, EROFS, ENOSPC, …"""
    _check_key(union, key)
    stored = _stored(union, key, errno.EPERM)
    immutable.check(union, node)
    if union.ids is not None and key.startswith(_ACL_FAMILY):
        value = union.ids.stored_acl(value)
    yield from _to_upper(union, node)
    place = objects.locate(union, node)
    place.setxattr(stored, value, flags)
    if union.ids is not None and union.ids.key and key == _ACCESS_ACL:
        old = objects.override_of(union, node) or override.real(place.stat())
        override.give(place, union.ids.key, old._replace(mode=old.mode & ~0o777 | acl_mode(value)))
    if isinstance(node, File) and key == privileges.CAPABILITY:
        node.set_id = True


def removexattr(union: Union, node: Node, key: bytes) -> Steps[None]:
    """Remove an xattr. Raises OSError: ENODATA (found before anything is copied up; an ACL of the upper may be absent),
    EROFS.
    """
    _check_key(union, key)
    stored = _stored(union, key, errno.ENODATA)
    checks.writable(union)
    immutable.check(union, node)
    if not objects.holder(union, node).is_upper:
        objects.locate(union, node).getxattr(stored)
    yield from _to_upper(union, node)
    objects.locate(union, node).removexattr(stored)


def _check_key(union: Union, key: bytes) -> None:
    if not union.options.xattrs or (not union.options.acl and key.startswith(_ACL_FAMILY)):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def _stored(union: Union, key: bytes, refusal: int) -> bytes:
    """Under which key it is kept. A mark of another dialect that would count is refused: it can't be escaped."""
    stored = union.dialect.stored(key)
    if stored == key and union.dialect.is_private(key):
        raise OSError(refusal, os.strerror(refusal))
    return stored
