"""Copy-up: an object of a lower layer becomes the same object in the upper, before its first change.

A copy is made whole in workdir (data, then owner, xattrs, mode, times, then sync) and renamed into the upper: at any
moment the upper has nothing or all of it. Directories are made empty, parents first. Kernel: fs/overlayfs/copy_up.c.
"""

import errno
import os
import stat
from contextlib import suppress

from unionfs.core import checks, holding, immutable, metacopy, objects, override, privileges
from unionfs.core.dialect import IMPURE, NLINK, ORIGIN
from unionfs.core.inodes import CopyUp, Dir, File, Handle, UpperPart, real_id
from unionfs.core.layer import Layer
from unionfs.core.override import Owner
from unionfs.core.union import Union
from unionfs.core.work import Steps, Work
from unionfs.core.workdir import Workdir
from unionfs.linux.at import At
from unionfs.linux.copyrange import copy_data

_INLINE_BYTES = 64 << 10
"""Up to this size a copy that isn't synced takes less time than the hop to a thread."""
_INDEXED = 1
"""The link in the index of a lower hard link's upper inode."""
_MUST_COPY = (b"system.posix_acl_access", b"system.posix_acl_default")
_NEVER_COPY = (b"security.selinux",)


def upper_dir(union: Union, node: Dir) -> UpperPart:
    """The upper's share in the directory `node`, made now if it has none; its parents' too.

    Raises OSError: EROFS, and those of the upper; what was made for the parents stays.
    """
    if node.upper is not None:
        return node.upper
    workdir = checks.writable(union)
    lacking = [node]
    while (above := lacking[-1].parent) is not None and above.upper is None:
        lacking.append(above)
    for directory in reversed(lacking):  # no recursion: they may be thousands
        part = _copy_dir(union, workdir, directory)
    return part


def _copy_dir(union: Union, workdir: Workdir, node: Dir) -> UpperPart:
    """The upper's share in `node`, whose parent has one."""
    assert node.parent is not None  # the root has an upper share from the start
    above = node.parent.upper
    assert above is not None
    source = At(union.fds.fd(node.parts[0]))
    st = source.stat()
    name = workdir.name()
    os.mkdir(name, 0o700, dir_fd=workdir.temporary)
    try:
        temporary = workdir.temp(name)
        copy_metadata(union, source, st, temporary, objects.holder(union, node))
        _set_origin(union, node, source, st, temporary)
        immutable.keep(union, node, temporary)
        real = real_id(temporary.stat())
        temporary.despite_mode(lambda: _publish(union, name, above, node.name))
    except OSError:
        workdir.discard(name)
        raise
    part = UpperPart(union.layers[0], node)
    node.parts.insert(0, part)
    node.real = real
    union.changed.append(node)
    _name_in_upper(union, node.parent, node.name)
    return part


def upper_file(union: Union, node: File, size: int | None = None, *, data: bool = True) -> Steps[None]:
    """Bring `node` to the upper; nothing to do if it is there.

    `size`: only so many bytes of data are needed. Without `data` its metadata will do, where the union keeps files so.
    Concurrent callers make one copy. Raises OSError: EROFS, ENOSPC, EIO, …: the lower object stays visible then.
    """
    # who wants metadata alone waits for the data that is on its way: the copy takes the metadata along
    while node.lower is not None or (node.data is not None and (data or node.copying is not None)):
        if node.copying is None:
            if node.lower is None and metacopy.has_links(union, node):
                node.copying = metacopy.fill(union, node)
            else:
                node.copying = _begin(union, node, size, data=data or not union.metacopy)
        copying = node.copying
        try:
            yield from _run(union, copying)
        except OSError:
            if node.copying is copying:
                node.copying = None
                if copying.temporary:
                    checks.writable(union).discard(copying.temporary)
                holding.forget(union, node)
            raise
        if node.copying is copying:  # the first to come back publishes
            node.copying = None
            if copying.temporary:
                _commit(union, node, copying)
            else:
                metacopy.filled(union, node)
            holding.forget(union, node)


def _run(union: Union, copying: CopyUp) -> Steps[None]:
    if copying.size <= _INLINE_BYTES and union.options.volatile:
        copying.work.run()
    elif copying.size:
        yield copying.work


def _begin(union: Union, node: File, size: int | None, *, data: bool) -> CopyUp:
    """Make the temporary; what isn't data is copied at once. A regular file's data is left to the work."""
    workdir = checks.writable(union)
    for parent, _ in node.names[:1]:
        upper_dir(union, parent)
    layer = objects.holder(union, node)
    source = objects.locate(union, node)
    st = source.stat()
    name = workdir.name()
    temporary = workdir.temp(name)
    kind, device = _kind(union, source, st, layer)
    regular = stat.S_ISREG(kind)
    size = min(st.st_size, st.st_size if size is None else size) if regular and data else 0
    try:
        if size:
            return CopyUp(name, size, _data_work(union, node, layer, source, st, temporary, size))
        _make(source, kind, device, temporary)
        if regular and not data:
            metacopy.mark(union, temporary, st.st_size)
        copy_metadata(union, source, st, temporary, layer)
        _set_origin(union, node, source, st, temporary)
        immutable.keep(union, node, temporary)
        return CopyUp(name, 0, Work(lambda: None), lacks_data=regular and not data)
    except OSError:
        workdir.discard(name)
        raise


def _kind(union: Union, source: At, st: os.stat_result, layer: Layer) -> tuple[int, int]:
    """(S_IFMT, device number) of the copy: an xattr that tells another kind is followed or kept."""
    owner = override.read(source, layer.override) if layer.override and not union.layers[0].override else None
    mode, device = (st.st_mode, st.st_rdev) if owner is None else owner.over(st)
    return stat.S_IFMT(mode), device


def _make(source: At, kind: int, device: int, temporary: At) -> None:
    if stat.S_ISLNK(kind):
        os.symlink(source.readlink(), temporary.name, dir_fd=temporary.dirfd)
    elif stat.S_ISREG(kind):
        os.close(temporary.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    else:
        os.mknod(temporary.name, kind | 0o600, device, dir_fd=temporary.dirfd)


def _data_work(
    union: Union, node: File, layer: Layer, source: At, st: os.stat_result, temporary: At, size: int
) -> Work:
    """The work that copies `size` bytes of `node`, then the metadata of `source` in `layer`, of the attributes `st`.

    It holds its own descriptors until it has run. The copy gets its name when it is synced: syncing a new name means
    syncing its directory, too. Kernel: ovl_copy_up_tmpfile().
    """
    workdir = checks.writable(union)
    opened: list[int] = []
    try:
        opened.append(workdir.new_file(temporary.name))
        _set_origin(union, node, source, st, At(opened[0]))
        immutable.keep(union, node, At(opened[0]))
        opened.append(objects.locate_data(union, node).open(os.O_RDONLY))
        if node.data is not None:
            opened.append(source.open(os.O_PATH))
    except OSError:
        _close(opened)
        raise
    writer, reader, described = opened[0], opened[1], opened[-1]

    def run() -> None:
        try:
            copy_data(reader, writer, size, lambda: work.stop, synced=not union.options.volatile)
            copy_metadata(union, At(described), st, At(writer), layer)
            if not union.options.volatile:
                os.fsync(writer)
            workdir.give_name(writer, temporary.name)
        finally:
            _close(opened)

    work = Work(run, stoppable=True)
    return work


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def copy_metadata(union: Union, source: At, st: os.stat_result, target: At, layer: Layer | None = None) -> None:
    """Give `target` owner, xattrs (ACLs and capabilities among them), mode and times of `source`.

    `target` is for the upper; `source` is of `layer`, or of the upper too.

    In this order: chown drops set-id bits and capabilities, an ACL changes the mode, all of them move ctime only.
    Raises OSError: as the kernel, xattrs that the upper doesn't know are left out, but never an ACL.
    """
    owner = _owner(union, source, st, layer or union.layers[0])
    made = target.stat()
    in_xattr = union.layers[0].override
    if not in_xattr and (made.st_uid, made.st_gid) != (owner.uid, owner.gid):
        target.chown(owner.uid, owner.gid)
    for key in source.listxattr():
        if union.dialect.shown(key) is None or key in _NEVER_COPY:
            continue
        try:
            value = source.getxattr(key)
            if union.ids is not None and layer is not None and key in _MUST_COPY:
                value = union.ids.carried_acl(value, layer)
            target.setxattr(key, value)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or key in _MUST_COPY:
                raise
    if in_xattr:
        override.give(target, in_xattr, owner)
    elif not stat.S_ISLNK(st.st_mode) and stat.S_IMODE(target.stat().st_mode) != owner.mode:
        target.chmod(owner.mode)
    target.utime(st.st_atime_ns, st.st_mtime_ns)


def _owner(union: Union, source: At, st: os.stat_result, layer: Layer) -> Owner:
    """Owner and mode of `source`, as the upper is to hold them."""
    owner = override.real(st)
    if union.ids is None:
        return owner
    if layer.override:
        owner = override.read(source, layer.override) or owner
    return union.ids.carried(layer, owner)


def _set_origin(union: Union, node: Dir | File, source: At, st: os.stat_result, temporary: At) -> None:
    """Record where the copy comes from; without xattrs or file handles it is just not recorded."""
    if isinstance(node, File) and node.lower is None:
        keep_origin(union, source, temporary)
        return
    origin = union.origins.encode(source, st.st_dev)
    if origin is not None:
        _set_mark(union, temporary, ORIGIN, origin)


def keep_origin(union: Union, source: At, temporary: At) -> None:
    """Let `temporary`, which is to take the place of the upper's `source`, have come from where that came from."""
    origin = union.dialect.get(source, ORIGIN)
    if origin is not None:
        _set_mark(union, temporary, ORIGIN, origin)


def _set_mark(union: Union, place: At, mark: bytes, value: bytes) -> None:
    try:
        union.dialect.set(place, mark, value)
    except OSError as error:
        # user.* isn't allowed on symlinks and devices
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise


def _publish(union: Union, name: bytes, part: UpperPart, target: bytes) -> None:
    """Rename a temporary to its place in the upper; its directory's times stay as they were."""
    directory = At(union.fds.fd(part))
    st = directory.stat()
    mark_impure(union, part)
    workdir = checks.writable(union)
    directory.despite_mode(lambda: workdir.publish(name, At(directory.dirfd, target)))
    _restore_times(directory, st)


def _restore_times(directory: At, st: os.stat_result) -> None:
    """Best effort, as in the kernel: what moved them is done."""
    with suppress(OSError):
        directory.utime(st.st_atime_ns, st.st_mtime_ns)


def mark_impure(union: Union, part: UpperPart) -> None:
    """Note that an object in this directory has another inode number than its own: readdir of the kernel asks."""
    if not part.impure:
        _set_mark(union, At(union.fds.fd(part)), IMPURE, b"y")
        part.impure = True


def _commit(union: Union, node: File, copying: CopyUp) -> None:
    """Put the finished copy in place of the lower object, and turn everything in memory to it.

    A lower hard link goes to the index, by which all its names mean the copy, then gets its name. Raises OSError: the
    lower object is what it was, or the index has it and only the name is still the lower layer's.
    """
    workdir = checks.writable(union)
    temporary = workdir.temp(copying.temporary)
    held = -1
    reopened: dict[Handle, int] = {}
    try:
        links = objects.locate(union, node).stat().st_nlink + node.nlink_diff
        index_name = node.link_name if links > 0 and union.primitives.hard_links else None
        upper = temporary.stat()
        set_id = bool(union.layers[0].override) or privileges.has_any(temporary, upper)
        if not copying.lacks_data:
            reopened = objects.reopened(node, temporary)
        if index_name is not None:
            _set_mark(union, temporary, NLINK, b"L%+d" % node.nlink_diff)
            workdir.publish(copying.temporary, At(workdir.index, index_name))
        elif node.names:
            parent, name = node.names[0]
            _publish(union, copying.temporary, upper_dir(union, parent), name)
            _name_in_upper(union, parent, name)
        else:  # deleted, but open: the copy lives as long as somebody holds it
            held = temporary.open(os.O_PATH)
            workdir.discard(copying.temporary)
    except OSError:
        workdir.discard(copying.temporary)
        objects.close(reopened)
        raise
    if node.fd >= 0:
        os.close(node.fd)
    node.fd = held
    node.data = (node.data or node.lower) if copying.lacks_data else None
    node.lower = None
    node.real = real_id(upper)
    node.set_id = set_id
    node.index_name = index_name
    node.nlink_diff = links - _INDEXED if index_name is not None else 0
    if node.link_name is not None:
        workdir.lose_links(node.link_name, 0)
        node.link_name = None
    union.changed.append(node)
    objects.turn_handles(reopened)
    if node.names:
        upper_name(union, *node.names[0], node)


def save_nlink(union: Union, node: File) -> None:
    """Record how many links in the union the lower hard link `node` has beside those in the upper.

    To be done before links in the upper and in the union change together: the record is right before and after.
    Kernel: fs/overlayfs/util.c:ovl_nlink_start().
    """
    if node.index_name is not None:
        _set_mark(union, objects.locate(union, node), NLINK, b"U%+d" % node.nlink_diff)


def _name_in_upper(union: Union, parent: Dir, name: bytes) -> None:
    if parent.index is not None:
        parent.index.set_upper(name)


def upper_name(union: Union, parent: Dir, name: bytes, node: File) -> None:
    """Make sure that the upper holds `name` itself for `node`, which is in the upper: a lower hard link's alias.

    Kernel: fs/overlayfs/copy_up.c:ovl_link_up().
    """
    if node.index_name is None:
        return
    part = upper_dir(union, parent)
    target = At(union.fds.fd(part), name)
    try:
        if real_id(target.stat()) == node.real:
            return
    except FileNotFoundError:
        pass
    source = objects.locate(union, node)
    directory = At(target.dirfd)
    st = directory.stat()
    mark_impure(union, part)
    links = source.stat().st_nlink
    if node.lower_links:  # right before and after the link; Kernel: ovl_set_nlink_lower()
        _set_mark(union, source, NLINK, b"L%+d" % (links + node.nlink_diff - node.lower_links))
    directory.despite_mode(
        lambda: os.link(source.name, name, src_dir_fd=source.dirfd, dst_dir_fd=target.dirfd, follow_symlinks=False)
    )
    _restore_times(directory, st)
    node.nlink_diff -= 1
    if not node.lower_links:
        save_nlink(union, node)
    _name_in_upper(union, parent, name)
