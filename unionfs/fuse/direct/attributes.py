"""Requests on attributes: of nodes, of the filesystem, and extended ones."""

import errno
import os
import stat

from unionfs.core.inodes import File
from unionfs.core.model import SetAttr
from unionfs.core.ops import attrs, birth, files, lookup
from unionfs.core.work import Steps
from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.mount import EMPTY, Mount, Table, refuse_for_ever
from unionfs.fuse.direct.protocol import Fattr, Init, Opcode
from unionfs.fuse.direct.request import Request
from unionfs.fuse.direct.tasks import Answer

_SECOND_NS = 10**9
_TRUSTED = b"trusted."
_LABEL = b"security.selinux"
"""What is asked for most: by ls(1) of every file, until a filesystem says that it knows no labels. The kernel keeps no
xattrs, so where SELinux isn't in use we say so of files without one; a second `ls -lR` then sends next to nothing."""


def getattr_(mount: Mount, request: Request) -> Answer:
    flags, fh = request.fields(protocol.GETATTR_IN)
    handle = mount.union.handles.get(fh) if flags & protocol.GETATTR_FH else None
    return mount.replies.attr(*lookup.getattr(mount.union, mount.node(request.nodeid), handle))


def statx(mount: Mount, request: Request) -> Answer:
    flags, fh, _, _ = request.fields(protocol.STATX_IN)
    handle = mount.union.handles.get(fh) if flags & protocol.GETATTR_FH else None
    node, st = lookup.getattr(mount.union, mount.node(request.nodeid), handle)
    return mount.replies.statx(node, st, birth.birth_ns(mount.union, node))


def setattr_(mount: Mount, request: Request) -> Steps[Answer]:
    valid, fh, size, *times, mode, uid, gid = request.fields(protocol.SETATTR_IN)
    atime, mtime, atime_ns, mtime_ns = times
    node = mount.node(request.nodeid)
    change = SetAttr(
        mode=stat.S_IMODE(mode) if valid & Fattr.MODE else None,
        uid=uid if valid & Fattr.UID else None,
        gid=gid if valid & Fattr.GID else None,
        size=size if valid & Fattr.SIZE else None,
        atime_ns=atime * _SECOND_NS + atime_ns if valid & Fattr.ATIME else None,
        mtime_ns=mtime * _SECOND_NS + mtime_ns if valid & Fattr.MTIME else None,
    )
    handle = mount.union.handles.get(fh) if valid & Fattr.FH else None
    found = None
    if valid & Fattr.CHANGES:
        found = yield from attrs.setattr(mount.union, node, change, mount.writer(request), handle)
    # Nothing at all to change comes before a write that takes set-id bits or capabilities from a file that is passed
    # through; the latter were removed by name. Kernel: fs/fuse/dir.c:fuse_setattr(), fs/inode.c:__remove_privs().
    kills = not valid or valid & Fattr.KILL_SUIDGID
    if kills and isinstance(node, File) and node.set_id and node.is_upper and (valid or not request.is_privileged()):
        files.drop_set_id(mount.union, node)
        found = None
    return mount.replies.attr(*(found or lookup.getattr(mount.union, node, handle)))


def access(mount: Mount, request: Request) -> Answer:
    (mask,) = request.fields(protocol.ACCESS_IN)
    lookup.access(mount.union, mount.node(request.nodeid), mask, request.caller())
    return EMPTY


def statfs(mount: Mount, request: Request) -> Answer:
    found = lookup.statfs(mount.union)
    return protocol.STATFS_OUT.pack(
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        found.f_bsize,
        found.f_namemax,
        found.f_frsize,
    )


def getxattr(mount: Mount, request: Request) -> Answer:
    (size,) = request.fields(protocol.GETXATTR_IN)
    key = _key(mount, request, protocol.GETXATTR_IN.size)
    try:
        value = attrs.getxattr(mount.union, mount.node(request.nodeid), key)
    except OSError as error:
        if key != _LABEL or error.errno != errno.ENODATA or mount.has_labels:
            raise
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP)) from None
    return _fitting(value, size)


def listxattr(mount: Mount, request: Request) -> Answer:
    (size,) = request.fields(protocol.GETXATTR_IN)
    _check_xattrs(mount)
    keys = attrs.listxattr(mount.union, mount.node(request.nodeid))
    if any(key.startswith(_TRUSTED) for key in keys) and not request.is_privileged():
        keys = [key for key in keys if not key.startswith(_TRUSTED)]
    return _fitting(b"".join(key + b"\0" for key in keys), size)


def setxattr(mount: Mount, request: Request) -> Steps[Answer]:
    layout, clear_sgid = protocol.SETXATTR_IN, 0
    if Init.SETXATTR_EXT in mount.features:
        layout = protocol.SETXATTR_IN_EXT
        clear_sgid = request.fields(layout)[2] & protocol.SETXATTR_ACL_KILL_SGID
    size, flags, *_ = request.fields(layout)
    key = _key(mount, request, layout.size)
    value = bytes(request.data(layout.size + len(key) + 1, size))
    node = mount.node(request.nodeid)
    yield from attrs.setxattr(mount.union, node, key, value, flags)
    if clear_sgid:
        mode = lookup.getattr(mount.union, node)[1].st_mode
        yield from attrs.setattr(mount.union, node, SetAttr(mode=mode & ~stat.S_ISGID), mount.writer(request))
    return EMPTY


def removexattr(mount: Mount, request: Request) -> Steps[Answer]:
    yield from attrs.removexattr(mount.union, mount.node(request.nodeid), _key(mount, request, 0))
    return EMPTY


def _key(mount: Mount, request: Request, offset: int) -> bytes:
    _check_xattrs(mount)
    return request.strings(offset, 1)[0]


def _check_xattrs(mount: Mount) -> None:
    if not mount.union.options.xattrs:
        raise refuse_for_ever()


def _fitting(value: bytes, size: int) -> Answer:
    """`value`, or how long it is if the caller has no room yet. Raises OSError: ERANGE."""
    if not size:
        return protocol.GETXATTR_OUT.pack(len(value))
    if len(value) > size:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return value


HANDLERS: Table = {
    Opcode.GETATTR: getattr_,
    Opcode.STATX: statx,
    Opcode.SETATTR: setattr_,
    Opcode.ACCESS: access,
    Opcode.STATFS: statfs,
    Opcode.GETXATTR: getxattr,
    Opcode.LISTXATTR: listxattr,
    Opcode.SETXATTR: setxattr,
    Opcode.REMOVEXATTR: removexattr,
}
