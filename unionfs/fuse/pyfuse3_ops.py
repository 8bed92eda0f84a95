"""The other front door: pyfuse3's requests decoded, carried to the verbs of the core, their answers encoded.

The root has nodeid 1; of everything else the nodeid is the number users see, since pyfuse3 has one field for both.
What the kernel may cache it may cache for ever: nothing changes but through this mount. pyfuse3 can't carry FLUSH
settings, cached listings, O_TMPFILE, copy_file_range, SEEK_HOLE and fallocate; the kernel has answers of its own to
these, or ENOTSUP. FLUSH is silenced by one ENOSYS, and so are FSYNC of a volatile union and the xattr requests of a
union without.
"""

import errno
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

import pyfuse3

from unionfs.core.inodes import Node
from unionfs.core.model import Caller, SetAttr, StatLike
from unionfs.core.ops import attrs, create, files, listing, lookup, remove, rename
from unionfs.core.union import Union
from unionfs.fuse import kernel
from unionfs.fuse.data import Data
from unionfs.fuse.drive import Driver
from unionfs.fuse.errors import errno_of
from unionfs.fuse.loop import Loop

P = ParamSpec("P")
T = TypeVar("T")

_Context = pyfuse3.RequestContext
_Entry = pyfuse3.EntryAttributes


def request(
    handler: "Callable[Concatenate[UnionOperations, P], Coroutine[Any, Any, T]]",
) -> "Callable[Concatenate[UnionOperations, P], Coroutine[Any, Any, T]]":
    """Answer with an errno whatever a handler raises; a bug must not end the mount."""

    @wraps(handler)
    async def answered(self: "UnionOperations", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise pyfuse3.FUSEError(errno_of(error)) from None
        finally:
            if self.changed or self._union.moved:
                self.tell_changes()

    return answered


class UnionOperations(pyfuse3.Operations):
    """The requests of one mount of `union`; their names and arguments are pyfuse3's."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, union: Union, loop: Loop, timeout_s: float = kernel.FOREVER_S) -> None:
        super().__init__()
        self.enable_acl = union.options.acl and union.options.xattrs
        self._union = union
        self._nodes = union.inodes
        self.changed = union.changed
        self._drive = Driver(loop).drive
        self._data = Data(union, loop)
        self._timeout_s = timeout_s

    def tell_changes(self) -> None:
        """Have the kernel ask again for attributes that a verb changed without being about them."""
        for node in self.changed:
            nodeid = pyfuse3.ROOT_INODE if node is self._union.root else node.ino
            try:
                pyfuse3.invalidate_inode(nodeid, attr_only=True)
            except FileNotFoundError:
                continue  # the kernel doesn't know it, or not any more
        self.changed.clear()
        self._union.moved.clear()  # listings aren't kept

    def _node(self, nodeid: int) -> Node:
        if nodeid == pyfuse3.ROOT_INODE:
            return self._union.root
        node = self._nodes.get(nodeid)
        if node is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return node

    def _attributes(self, found: tuple[Node, StatLike]) -> _Entry:
        node, st = found
        entry = _Entry()
        entry.st_ino = node.ino
        entry.st_mode = st.st_mode
        entry.st_nlink = st.st_nlink
        entry.st_uid = st.st_uid
        entry.st_gid = st.st_gid
        entry.st_rdev = st.st_rdev
        entry.st_size = st.st_size
        entry.st_blocks = st.st_blocks
        entry.st_blksize = st.st_blksize
        entry.st_atime_ns = st.st_atime_ns
        entry.st_mtime_ns = st.st_mtime_ns
        entry.st_ctime_ns = st.st_ctime_ns
        entry.attr_timeout = entry.entry_timeout = self._timeout_s
        return entry

    def _told(self, found: tuple[Node, StatLike]) -> _Entry:
        """Attributes for a reply that tells the kernel of a name: it will forget the node one day."""
        found[0].lookups += 1
        return self._attributes(found)

    # Looking

    @request
    async def lookup(self, parent_inode: int, name: bytes, ctx: _Context) -> _Entry:
        try:
            return self._told(lookup.lookup(self._union, self._node(parent_inode), name))
        except FileNotFoundError:
            absent = _Entry()  # nodeid 0: that there is no such name may be cached too
            absent.entry_timeout = self._timeout_s
            return absent

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for nodeid, count in inode_list:
            node = self._nodes.get(nodeid)
            if node is None or nodeid == pyfuse3.ROOT_INODE:
                continue
            try:
                lookup.forget(self._union, node, count)
            except Exception as error:
                errno_of(error)  # there is nobody to answer: into the log, if it is a bug

    @request
    async def getattr(self, inode: int, ctx: _Context) -> _Entry:
        return self._attributes(lookup.getattr(self._union, self._node(inode)))

    @request
    async def readlink(self, inode: int, ctx: _Context) -> bytes:
        return lookup.readlink(self._union, self._node(inode))

    @request
    async def access(self, inode: int, mode: int, ctx: _Context) -> bool:
        lookup.access(self._union, self._node(inode), mode, _caller(ctx))
        return True

    @request
    async def statfs(self, ctx: _Context) -> pyfuse3.StatvfsData:
        found = lookup.statfs(self._union)
        reply = pyfuse3.StatvfsData()
        reply.f_bsize = found.f_bsize
        reply.f_frsize = found.f_frsize
        reply.f_blocks = found.f_blocks
        reply.f_bfree = found.f_bfree
        reply.f_bavail = found.f_bavail
        reply.f_files = found.f_files
        reply.f_ffree = found.f_ffree
        reply.f_favail = found.f_favail
        reply.f_namemax = found.f_namemax
        return reply

    # Directories

    @request
    async def opendir(self, inode: int, ctx: _Context) -> int:
        return listing.opendir(self._union, self._node(inode))

    @request
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        told = False
        try:
            for offset, name, node, st in listing.readdir(self._union, fh, start_id):
                if not pyfuse3.readdir_reply(token, name, self._attributes((node, st)), offset):
                    if node.lookups == 0:
                        listing.release_unused(self._union, node)
                    break
                if name not in (b".", b".."):  # of these two the kernel takes no reference
                    node.lookups += 1
                told = True
        except OSError:
            if not told:  # or else send what there is: the error comes again where the next request begins
                raise

    @request
    async def releasedir(self, fh: int) -> None:
        listing.releasedir(self._union, fh)

    @request
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        self._refuse_sync_if_volatile()
        await self._drive(listing.fsyncdir(self._union, fh, datasync))

    # Names

    @request
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: _Context) -> _Entry:
        parent = self._node(parent_inode)
        return self._told(create.mknod(self._union, parent, name, mode, rdev, _caller(ctx)))

    @request
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: _Context) -> _Entry:
        return self._told(create.mkdir(self._union, self._node(parent_inode), name, mode, _caller(ctx)))

    @request
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: _Context) -> _Entry:
        return self._told(create.symlink(self._union, self._node(parent_inode), name, target, _caller(ctx)))

    @request
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: _Context) -> _Entry:
        node, parent = self._node(inode), self._node(new_parent_inode)
        return self._told(await self._drive(create.link(self._union, node, parent, new_name)))

    @request
    async def unlink(self, parent_inode: int, name: bytes, ctx: _Context) -> None:
        remove.unlink(self._union, self._node(parent_inode), name)

    @request
    async def rmdir(self, parent_inode: int, name: bytes, ctx: _Context) -> None:
        remove.rmdir(self._union, self._node(parent_inode), name)

    @request
    async def rename(
        self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, flags: int, ctx: _Context
    ) -> None:
        old, new = self._node(parent_inode_old), self._node(parent_inode_new)
        await self._drive(rename.rename(self._union, old, name_old, new, name_new, flags))

    # Files

    @request
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: _Context
    ) -> tuple[pyfuse3.FileInfo, _Entry]:
        parent = self._node(parent_inode)
        fh, found = create.create(self._union, parent, name, mode, flags, _caller(ctx))
        return pyfuse3.FileInfo(fh=fh, keep_cache=True), self._told(found)

    @request
    async def open(self, inode: int, flags: int, ctx: _Context) -> pyfuse3.FileInfo:
        fh = await self._drive(files.open_file(self._union, self._node(inode), flags, _caller(ctx)))
        return pyfuse3.FileInfo(fh=fh, keep_cache=True)

    @request
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._data.read(fh, off, size)  # type: ignore[return-value]  # any buffer will do

    @request
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._data.write(fh, off, buf)

    @request
    async def fsync(self, fh: int, datasync: bool) -> None:
        self._refuse_sync_if_volatile()
        await self._drive(files.fsync(self._union, fh, datasync))

    async def flush(self, fh: int) -> None:
        _refuse_for_ever()

    @request
    async def release(self, fh: int) -> None:
        self._data.forget(fh)
        files.release(self._union, fh)

    # Attributes

    @request
    async def setattr(
        self, inode: int, attr: _Entry, fields: pyfuse3.SetattrFields, fh: int | None, ctx: _Context
    ) -> _Entry:
        node = self._node(inode)
        change = SetAttr(
            mode=stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            size=attr.st_size if fields.update_size else None,
            atime_ns=attr.st_atime_ns if fields.update_atime else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        )
        if change == SetAttr():  # the kernel tells a new ctime, which the layer's filesystem keeps itself
            return self._attributes(lookup.getattr(self._union, node))
        handle = self._union.handles.get(fh) if fh is not None else None
        steps = attrs.setattr(self._union, node, change, _caller(ctx), handle)
        return self._attributes(await self._drive(steps))

    @request
    async def getxattr(self, inode: int, name: bytes, ctx: _Context) -> bytes:
        self._refuse_xattrs_if_none()
        return attrs.getxattr(self._union, self._node(inode), name)

    @request
    async def listxattr(self, inode: int, ctx: _Context) -> list[bytes]:
        self._refuse_xattrs_if_none()
        return attrs.listxattr(self._union, self._node(inode), _caller(ctx))

    @request
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: _Context) -> None:
        self._refuse_xattrs_if_none()
        await self._drive(attrs.setxattr(self._union, self._node(inode), name, value))

    @request
    async def removexattr(self, inode: int, name: bytes, ctx: _Context) -> None:
        self._refuse_xattrs_if_none()
        await self._drive(attrs.removexattr(self._union, self._node(inode), name))

    def _refuse_sync_if_volatile(self) -> None:
        if self._union.options.volatile:
            _refuse_for_ever()

    def _refuse_xattrs_if_none(self) -> None:
        if not self._union.options.xattrs:
            _refuse_for_ever()


def _refuse_for_ever() -> NoReturn:
    """ENOSYS: the kernel answers all requests of this kind itself from now on."""
    raise pyfuse3.FUSEError(errno.ENOSYS)


def _caller(ctx: _Context) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.pid, ctx.umask)


def attach(operations: UnionOperations, fd: int, loop: Loop) -> None:
    """Make pyfuse3 serve the mounted connection `fd` on `loop`. pyfuse3 keeps one session in a process."""
    module: Any = pyfuse3
    module.trio = loop
    # libfuse takes a path of this form for a connection that is mounted already, and leaves the mount alone
    pyfuse3.init(operations, f"/dev/fd/{fd}", set())


async def serve_session() -> None:
    """Serve until the connection ends, by unmounting or by force, or `end_session` is called."""
    try:
        # our loop starts workers as they are needed: a limit of 1 keeps pyfuse3 from doing it
        await pyfuse3.main(min_tasks=8, max_tasks=1)
    except* ConnectionAbortedError:
        pass


def end_session() -> None:
    """Answer what was begun, then return from `serve_session`."""
    pyfuse3.terminate()


def close_session() -> None:
    """Drop the connection; a mount that is still there answers ENOTCONN from then on."""
    pyfuse3.close(unmount=False)
