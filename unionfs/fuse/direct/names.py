"""Requests on names: lookup and forget, and what makes, moves and removes them."""

from unionfs.core.ops import create, lookup, remove, rename
from unionfs.core.work import Steps
from unionfs.fuse.direct import protocol, replies
from unionfs.fuse.direct.mount import EMPTY, Mount, Table
from unionfs.fuse.direct.protocol import Opcode
from unionfs.fuse.direct.request import Request, checked
from unionfs.fuse.direct.tasks import Answer


def look_up(mount: Mount, request: Request) -> Answer:
    try:
        node, st = lookup.lookup(mount.union, mount.node(request.nodeid), request.name())
    except FileNotFoundError:
        return mount.replies.absent
    mount.preload.looked_up(node, st.st_size)
    return mount.told((node, st))


def forget(mount: Mount, request: Request) -> None:
    (count,) = request.fields(protocol.FORGET_IN)
    mount.nodeids.forget(request.nodeid, count)


def batch_forget(mount: Mount, request: Request) -> None:
    (count,) = request.fields(protocol.BATCH_FORGET_IN)
    size = protocol.FORGET_ONE.size
    for nodeid, lookups in protocol.FORGET_ONE.iter_unpack(request.data(protocol.BATCH_FORGET_IN.size, count * size)):
        mount.nodeids.forget(nodeid, lookups)


def readlink(mount: Mount, request: Request) -> Answer:
    return lookup.readlink(mount.union, mount.node(request.nodeid))


def mknod(mount: Mount, request: Request) -> Answer:
    mode, rdev, umask = request.fields(protocol.MKNOD_IN)
    name, caller = request.name(protocol.MKNOD_IN.size), request.caller(umask)
    parent = mount.node(request.nodeid)
    return mount.told(create.mknod(mount.union, parent, name, mode, replies.decode_device(rdev), caller))


def mkdir(mount: Mount, request: Request) -> Answer:
    mode, umask = request.fields(protocol.MKDIR_IN)
    name, caller = request.name(protocol.MKDIR_IN.size), request.caller(umask)
    return mount.told(create.mkdir(mount.union, mount.node(request.nodeid), name, mode, caller))


def symlink(mount: Mount, request: Request) -> Answer:
    name, target = request.strings(0, 2)
    parent = mount.node(request.nodeid)
    return mount.told(create.symlink(mount.union, parent, checked(name), target, request.caller()))


def link(mount: Mount, request: Request) -> Steps[Answer]:
    (nodeid,) = request.fields(protocol.LINK_IN)
    name = request.name(protocol.LINK_IN.size)
    node, parent = mount.node(nodeid), mount.node(request.nodeid)
    return mount.told((yield from create.link(mount.union, node, parent, name)))


def unlink(mount: Mount, request: Request) -> Answer:
    remove.unlink(mount.union, mount.node(request.nodeid), request.name())
    return EMPTY


def rmdir(mount: Mount, request: Request) -> Answer:
    remove.rmdir(mount.union, mount.node(request.nodeid), request.name())
    return EMPTY


def rename_plainly(mount: Mount, request: Request) -> Steps[Answer]:
    (newdir,) = request.fields(protocol.RENAME_IN)
    return _rename(mount, request, newdir, 0, protocol.RENAME_IN.size)


def rename2(mount: Mount, request: Request) -> Steps[Answer]:
    newdir, flags = request.fields(protocol.RENAME2_IN)
    return _rename(mount, request, newdir, flags, protocol.RENAME2_IN.size)


def _rename(mount: Mount, request: Request, newdir: int, flags: int, offset: int) -> Steps[Answer]:
    old, new = map(checked, request.strings(offset, 2))
    source, target = mount.node(request.nodeid), mount.node(newdir)
    yield from rename.rename(mount.union, source, old, target, new, flags)
    return EMPTY


HANDLERS: Table = {
    Opcode.LOOKUP: look_up,
    Opcode.FORGET: forget,
    Opcode.BATCH_FORGET: batch_forget,
    Opcode.READLINK: readlink,
    Opcode.MKNOD: mknod,
    Opcode.MKDIR: mkdir,
    Opcode.SYMLINK: symlink,
    Opcode.LINK: link,
    Opcode.UNLINK: unlink,
    Opcode.RMDIR: rmdir,
    Opcode.RENAME: rename_plainly,
    Opcode.RENAME2: rename2,
}
