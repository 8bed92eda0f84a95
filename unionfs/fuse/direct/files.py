"""Requests on open files."""

import errno
import os

from unionfs.core.inodes import Handle, Node
from unionfs.core.model import StatLike
from unionfs.core.ops import create, files, inode_flags, space, tmpfile
from unionfs.core.work import Steps
from unionfs.fuse.direct import data, protocol, statistics
from unionfs.fuse.direct.bulk import LARGE_BYTES
from unionfs.fuse.direct.mount import EMPTY, Mount, Table, refuse_for_ever
from unionfs.fuse.direct.passthrough import StaleError
from unionfs.fuse.direct.protocol import Opcode
from unionfs.fuse.direct.request import Request, malformed
from unionfs.fuse.direct.tasks import Answer

_LARGEST_COUNT = 0x7FFFF000  # MAX_RW_COUNT of include/linux/fs.h, which fits write_out
_NOT_SENT = os.O_PATH | os.O_TMPFILE
"""Flags of open(2) that the kernel has dealt with."""


def open_(mount: Mount, request: Request) -> Answer | Steps[Answer]:
    flags, open_flags = request.fields(protocol.OPEN_IN)
    flags &= ~_NOT_SENT
    node = mount.node(request.nodeid)
    if not files.writes(flags):
        return _answer_open(mount, request.nodeid, files.open_to_read(mount.union, node, flags))
    return _open_to_write(mount, request, flags, kills=bool(open_flags & protocol.OPEN_KILL_SUIDGID))


def _open_to_write(mount: Mount, request: Request, flags: int, *, kills: bool) -> Steps[Answer]:
    nodeid, node = request.nodeid, mount.node(request.nodeid)
    fh = yield from files.open_file(mount.union, node, flags, mount.writer(request))
    return _answer_open(mount, nodeid, fh, kills=kills)


def _answer_open(mount: Mount, nodeid: int, fh: int, *, kills: bool = False) -> bytes:
    node = mount.union.handles[fh].node
    try:
        if kills and node.set_id:
            files.drop_set_id(mount.union, node)
        return _opened(mount, fh, nodeid)
    except OSError as error:
        files.release(mount.union, fh)
        if isinstance(error, StaleError) and nodeid == mount.nodeids.of(node):
            mount.nodeids.replace(node)
            mount.replaced.append(node)
        raise


def create_(mount: Mount, request: Request) -> Answer:
    flags, mode, umask, _ = request.fields(protocol.CREATE_IN)
    name, parent = request.name(protocol.CREATE_IN.size), mount.node(request.nodeid)
    return _made(mount, *create.create(mount.union, parent, name, mode, flags & ~_NOT_SENT, request.caller(umask)))


def tmpfile_(mount: Mount, request: Request) -> Answer:
    flags, mode, umask, _ = request.fields(protocol.CREATE_IN)
    parent = mount.node(request.nodeid)
    return _made(mount, *tmpfile.tmpfile(mount.union, parent, mode, flags & ~_NOT_SENT, request.caller(umask)))


def _made(mount: Mount, fh: int, found: tuple[Node, StatLike]) -> Answer:
    try:
        opened = _opened(mount, fh, mount.nodeids.of(found[0]))
    except OSError:
        files.release(mount.union, fh)
        raise
    return mount.told(found) + opened


def _opened(mount: Mount, fh: int, nodeid: int) -> bytes:
    handle = mount.union.handles[fh]
    was_unheard = handle.node.changes_unheard
    how = mount.passthrough.open(nodeid, handle)
    if handle.node.changes_unheard and not was_unheard:
        mount.union.changed.append(handle.node)
    if not handle.is_upper:
        mount.preload.opened(nodeid, handle)
    return protocol.OPEN_OUT.pack(fh, how.flags, how.backing_id)


def release(mount: Mount, request: Request) -> Answer:
    (fh,) = request.fields(protocol.RELEASE_IN)
    handle = mount.handle(fh)
    if handle.node is not mount.node(request.nodeid):
        raise malformed()
    mount.passthrough.release(request.nodeid, handle)
    files.release(mount.union, fh)
    return EMPTY


def flush(mount: Mount, request: Request) -> Answer:
    raise refuse_for_ever()


def read(mount: Mount, request: Request) -> Answer | Steps[Answer] | None:
    fh, offset, size = request.fields(protocol.READ_IN)
    handle = mount.opened(fh)
    if size >= LARGE_BYTES and mount.bulk is not None and mount.bulk.read(request.unique, handle.fd, offset, size):
        return None
    return data.read(handle, offset, size)


def write(mount: Mount, request: Request) -> Answer | Steps[Answer]:
    fh, offset, size, flags = request.fields(protocol.WRITE_IN)
    handle = mount.opened(fh)
    content = request.data(protocol.WRITE_IN.size, size)
    kills = handle.node.set_id if flags & protocol.WRITE_KILL_SUIDGID else handle.kill_priv and not mount.kills_by_flag
    if kills:
        files.kill_priv(mount.union, handle)
    return data.write(handle, offset, content)


def fsync(mount: Mount, request: Request) -> Steps[Answer]:
    fh, flags = request.fields(protocol.FSYNC_IN)
    if mount.refuses_sync:
        raise refuse_for_ever()
    mount.handle(fh)
    yield from files.fsync(mount.union, fh, bool(flags & protocol.FSYNC_FDATASYNC))
    return EMPTY


def lseek(mount: Mount, request: Request) -> Answer:
    fh, offset, whence = request.fields(protocol.LSEEK_IN)
    return protocol.LSEEK_OUT.pack(os.lseek(mount.opened(fh).fd, offset, whence))


def fallocate(mount: Mount, request: Request) -> Steps[Answer]:
    fh, offset, length, mode = request.fields(protocol.FALLOCATE_IN)
    yield from space.fallocate(mount.union, _writable(mount, fh), mode, offset, length)
    return EMPTY


def copy_file_range(mount: Mount, request: Request) -> Steps[Answer]:
    copied = yield from _copy_range(mount, request)
    return protocol.WRITE_OUT.pack(copied)


def copy_file_range_64(mount: Mount, request: Request) -> Steps[Answer]:
    copied = yield from _copy_range(mount, request)
    return protocol.COPY_FILE_RANGE_OUT.pack(copied)


def _copy_range(mount: Mount, request: Request) -> Steps[int]:
    source, source_offset, _, target, target_offset, length, flags = request.fields(protocol.COPY_FILE_RANGE_IN)
    if flags:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    reader, writer = mount.opened(source), _writable(mount, target)
    length = min(length, _LARGEST_COUNT)
    return space.copy_file_range(mount.union, reader, source_offset, writer, target_offset, length)


def _writable(mount: Mount, fh: int) -> Handle:
    """The handle, ready to have its content changed. Raises OSError: EBADF."""
    handle = mount.opened(fh)
    if handle.flags & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if handle.kill_priv:
        files.kill_priv(mount.union, handle)
    return handle


def ioctl(mount: Mount, request: Request) -> Steps[Answer]:
    _, _, command, in_size, out_size = request.fields(protocol.IOCTL_IN)
    argument = bytes(request.data(protocol.IOCTL_IN.size, in_size))
    node = mount.node(request.nodeid)
    if command in inode_flags.GETTERS:
        answer = inode_flags.get(mount.union, node, command)
    elif command in inode_flags.SETTERS:
        yield from inode_flags.set(mount.union, node, command, argument)
        answer = b""
    elif command == statistics.COMMAND and node is mount.union.root:
        answer = _requests(mount, request)
    else:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
    return protocol.IOCTL_OUT.pack(0, 0, 0, 0) + answer[:out_size]


def _requests(mount: Mount, request: Request) -> bytes:
    if request.asker() not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    return statistics.answer(mount.requests)


def syncfs(mount: Mount, request: Request) -> Steps[Answer]:
    if mount.refuses_sync:
        raise refuse_for_ever()
    yield from space.syncfs(mount.union)
    return EMPTY


HANDLERS: Table = {
    Opcode.OPEN: open_,
    Opcode.CREATE: create_,
    Opcode.TMPFILE: tmpfile_,
    Opcode.RELEASE: release,
    Opcode.FLUSH: flush,
    Opcode.READ: read,
    Opcode.WRITE: write,
    Opcode.FSYNC: fsync,
    Opcode.LSEEK: lseek,
    Opcode.FALLOCATE: fallocate,
    Opcode.COPY_FILE_RANGE: copy_file_range,
    Opcode.COPY_FILE_RANGE_64: copy_file_range_64,
    Opcode.IOCTL: ioctl,
    Opcode.SYNCFS: syncfs,
}
