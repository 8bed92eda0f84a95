"""Requests on directories.

OPENDIR is refused for ever where the kernel can do without: it then keeps listings of all directories, which change
through this mount alone, and asks again for those that did.
"""

from unionfs.core import checks
from unionfs.core.inodes import Dir
from unionfs.core.ops import listing
from unionfs.core.work import Steps
from unionfs.fuse.direct import protocol, replies
from unionfs.fuse.direct.mount import EMPTY, Mount, Table, refuse_for_ever
from unionfs.fuse.direct.protocol import Fopen, Init, Opcode
from unionfs.fuse.direct.request import Request
from unionfs.fuse.direct.tasks import Answer

_NO_HANDLE = 0
_NOT_COUNTED = (b".", b"..")


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
        for cookie, name, child, st in listing.entries(mount.union, node, offset):
            entry = replies.dirent(child, st, cookie, name)
            if not child.lookups:
                listing.release_unused(mount.union, child)
            if len(answer) + len(entry) > size:
                break
            answer += entry
    except OSError:
        if not answer:  # or else send what there is: the error comes again where the next request begins
            raise
    return answer


def readdirplus(mount: Mount, request: Request) -> Answer:
    _, offset, size = request.fields(protocol.READ_IN)
    node = checks.directory(mount.node(request.nodeid))
    answer = bytearray()
    try:
        for cookie, name, child, st in listing.entries(mount.union, node, offset):
            if len(answer) + replies.direntplus_bytes(name) > size:
                if not child.lookups:
                    listing.release_unused(mount.union, child)
                break
            nodeid = protocol.NO_NODE if name in _NOT_COUNTED else mount.nodeids.tell(child)
            answer += mount.replies.direntplus(nodeid, child, st, cookie, name)
    except OSError:
        if not answer:
            raise
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
