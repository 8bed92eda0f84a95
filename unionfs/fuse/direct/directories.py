"""Requests on directories.

OPENDIR is refused for ever where the kernel can do without: it then keeps listings of all directories, which change
through this mount alone, and asks again for those that did.
"""

import stat
from contextlib import suppress

from unionfs.core import checks
from unionfs.core.inodes import Dir
from unionfs.core.ops import listing, lookup
from unionfs.core.work import Steps
from unionfs.fuse.direct import protocol, replies
from unionfs.fuse.direct.mount import EMPTY, Mount, Table, refuse_for_ever
from unionfs.fuse.direct.protocol import Fopen, Init, Opcode
from unionfs.fuse.direct.request import Request
from unionfs.fuse.direct.tasks import Answer

_NO_HANDLE = 0
_NOT_COUNTED = (b".", b"..")
_END_NOT_KEPT = bytes(8)
"""The end of a listing, too short for an entry. After an empty reply the kernel would keep the listing, and who wants
attributes would not come to us with it. Kernel: fs/fuse/readdir.c:fuse_readdir_uncached()."""


def opendir(mount: Mount, request: Request) -> Answer:
    if Init.NO_OPENDIR_SUPPORT in mount.features:
        raise refuse_for_ever()
    checks.directory(mount.node(request.nodeid))
    return protocol.OPEN_OUT.pack(_NO_HANDLE, Fopen.KEEP_CACHE | Fopen.CACHE_DIR, 0)


def releasedir(mount: Mount, request: Request) -> Answer:
    return EMPTY


def readdir(mount: Mount, request: Request) -> Answer:
    _, offset, size = request.fields(protocol.READ_IN)
    node = checks.directory(mount.node(request.nodeid))
    answer = bytearray()
    try:
        for cookie, name, number, kind in listing.names(mount.union, node, offset):
            entry = replies.dirent(number, kind, cookie, name)
            if len(answer) + len(entry) > size:
                break
            answer += entry
    except OSError:
        if not answer:  # or else send what there is: the error comes again where the next request begins
            raise
    return answer


def readdirplus(mount: Mount, request: Request) -> Answer:
    if mount.listers.wants_attributes(request.pid, request.nodeid):
        return _with_attributes(mount, request)
    return _files_by_name(mount, request)


def _with_attributes(mount: Mount, request: Request) -> Answer:
    _, offset, size = request.fields(protocol.READ_IN)
    node = checks.directory(mount.node(request.nodeid))
    answer = bytearray()
    wants_sample = not offset and mount.listers.wants_sample(request.pid)
    try:
        for cookie, name, child, st in listing.entries(mount.union, node, offset):
            if len(answer) + replies.direntplus_bytes(name) > size:
                if not child.lookups:
                    listing.release_unused(mount.union, child)
                break
            if wants_sample and stat.S_ISREG(st.st_mode) and not child.lookups:
                wants_sample = False
                mount.listers.gave_sample(request.pid, request.nodeid)
                answer += replies.direntplus_alone(child.ino, st.st_mode, cookie, name)
                listing.release_unused(mount.union, child)
                continue
            nodeid = protocol.NO_NODE if name in _NOT_COUNTED else mount.nodeids.tell(child)
            answer += mount.replies.direntplus(nodeid, child, st, cookie, name)
    except OSError:
        if not answer:
            raise
    return answer


def _files_by_name(mount: Mount, request: Request) -> Answer:
    """Attributes of what isn't a regular file alone: who lists a tree goes into directories and follows symlinks."""
    _, offset, size = request.fields(protocol.READ_IN)
    node = checks.directory(mount.node(request.nodeid))
    answer, files = bytearray(), 0
    try:
        for cookie, name, number, kind in listing.names(mount.union, node, offset):
            if len(answer) + replies.direntplus_bytes(name) > size:
                break
            if kind == stat.S_IFREG or name in _NOT_COUNTED:
                answer += replies.direntplus_alone(number, kind, cookie, name)
                files += kind == stat.S_IFREG
                continue
            with suppress(FileNotFoundError):  # a layer was changed under us
                child, st = lookup.lookup(mount.union, node, name)
                answer += mount.replies.direntplus(mount.nodeids.tell(child), child, st, cookie, name)
    except OSError:
        if not answer:
            raise
    mount.listers.gave_names(request.pid, request.nodeid, files)
    if not answer and mount.listers.came_to_end(request.nodeid) == 1:
        return _END_NOT_KEPT
    return answer


def fsyncdir(mount: Mount, request: Request) -> Steps[Answer]:
    _, flags = request.fields(protocol.FSYNC_IN)
    if mount.refuses_sync:
        raise refuse_for_ever()
    node: Dir = checks.directory(mount.node(request.nodeid))
    yield from listing.fsync(mount.union, node, bool(flags & protocol.FSYNC_FDATASYNC))
    return EMPTY


HANDLERS: Table = {
    Opcode.OPENDIR: opendir,
    Opcode.RELEASEDIR: releasedir,
    Opcode.READDIR: readdir,
    Opcode.READDIRPLUS: readdirplus,
    Opcode.FSYNCDIR: fsyncdir,
}
