"""Verbs that make names: create, mknod, mkdir, symlink, link.

A new object is made in the upper in one system call, with the identity of the caller, so that owner, group of a
set-group-id directory, default ACL and quota are the filesystem's doing. Over a whiteout it is made in workdir, in a
directory that resembles its own, and takes the whiteout's place at once. Kernel: fs/overlayfs/dir.c.
"""

import errno
import os
import stat
from collections.abc import Callable

from unionfs.core import checks, copyup, holding, immutable, objects, privileges, redirect, tree, whiteouts
from unionfs.core.index import DirIndex
from unionfs.core.inodes import Dir, File, Handle, Node, UpperPart, kind_of, real_id
from unionfs.core.model import Caller, StatLike
from unionfs.core.union import Union
from unionfs.core.work import Steps
from unionfs.core.workdir import remove
from unionfs.linux.at import At

_DEFAULT_ACL = b"system.posix_acl_default"
_NOT_AT_CREATION = os.O_APPEND | os.O_DIRECT | os.O_TRUNC

Maker = Callable[[At], None]
"""Makes an object at a place where there is none. Raises OSError: EEXIST."""


def create(
    union: Union, parent: Node, name: bytes, mode: int, flags: int, caller: Caller
) -> tuple[int, tuple[Node, StatLike]]:
    """Make and open a regular file: (handle, (node, attributes)). Raises OSError: EEXIST, ENOTDIR, EROFS, EPERM."""
    opened = -1

    def make(place: At) -> None:
        nonlocal opened
        opened = place.open(flags & ~_NOT_AT_CREATION | os.O_CREAT | os.O_EXCL, stat.S_IMODE(mode))

    try:
        node, st = _make(union, parent, name, make, caller)
    except OSError:
        if opened >= 0:
            os.close(opened)
        raise
    assert isinstance(node, File)
    handle = Handle(opened, node, flags, is_upper=True, privileged=caller.uid == 0)
    return holding.add_handle(union, handle), (node, st)


def mknod(
    union: Union, parent: Node, name: bytes, mode: int, rdev: int, caller: Caller
) -> tuple[Node, StatLike]:
    """Make a file of the kind in `mode`. Raises OSError: as `create`; EPERM for char 0:0, which is a whiteout."""
    if stat.S_ISCHR(mode) and rdev == 0:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)
    return _make(
        union, parent, name, lambda place: os.mknod(place.name, mode, rdev, dir_fd=place.dirfd), caller
    )


def mkdir(union: Union, parent: Node, name: bytes, mode: int, caller: Caller) -> tuple[Node, StatLike]:
    """Make a directory. Raises OSError: as `create`."""
    mode = stat.S_IMODE(mode)
    return _make(
        union, parent, name, lambda place: os.mkdir(place.name, mode, dir_fd=place.dirfd), caller, is_dir=True
    )


def symlink(union: Union, parent: Node, name: bytes, target: bytes, caller: Caller) -> tuple[Node, StatLike]:
    """Make a symlink to `target`. Raises OSError: as `create`."""
    return _make(
        union, parent, name, lambda place: os.symlink(target, place.name, dir_fd=place.dirfd), caller
    )


def link(union: Union, node: Node, newparent: Node, newname: bytes) -> Steps[tuple[Node, StatLike]]:
    """Give a file, copied up first, one more name. Raises OSError: EPERM (a directory), EEXIST, EROFS, EMLINK."""
    if not isinstance(node, File):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), newname)
    directory = checks.directory(newparent)
    _check_free(union, directory, newname)
    immutable.check(union, node)
    node.opens += 1  # it may lose its names while it is copied
    try:
        yield from copyup.upper_file(union, node, data=not node.names)
    finally:
        node.opens -= 1
    _check_free(union, directory, newname)
    if node.data is not None:
        redirect.leave(union, node, *node.names[0], stays=False)

    def make(place: At) -> None:
        source = objects.locate(union, node)
        os.link(
            source.name or source.path,
            place.name,
            src_dir_fd=source.dirfd if source.name else None,
            dst_dir_fd=place.dirfd,
            follow_symlinks=not source.name,
        )

    part = copyup.upper_dir(union, directory)
    copyup.save_nlink(union, node)
    if node.ino != union.inodes.number(node.real):
        copyup.mark_impure(union, part)
    _place(union, directory, part, newname, make, None, is_dir=False)
    holding.add_name(node, directory, newname)
    return node, objects.attr(union, node)


def _check_free(union: Union, parent: Dir, name: bytes) -> None:
    """Raise EEXIST if `name` is visible, EPERM if it can't be a name, or none can be made, ENOENT if the directory was
    removed."""
    if parent.dead:
        raise checks.no_such_name(name)
    if union.dialect.is_reserved(name):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)
    checks.writable(union)
    immutable.check(union, parent, appends=True)
    # in a directory of the upper alone the creating call itself tells
    if (parent.is_merged or parent.upper is None) and tree.peek(union, parent, name) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _make(
    union: Union, parent: Node, name: bytes, make: Maker, caller: Caller, *, is_dir: bool = False
) -> tuple[Node, StatLike]:
    directory = checks.directory(parent)
    _check_free(union, directory, name)
    part = copyup.upper_dir(union, directory)
    _place(union, directory, part, name, make, caller, is_dir=is_dir)
    st = At(union.fds.fd(part), name).stat()
    node = _new_node(union, directory, part, name, st)
    return node, st if union.ids is None else objects.shown(union, node, st)


def _place(
    union: Union, parent: Dir, part: UpperPart, name: bytes, make: Maker, caller: Caller | None, *, is_dir: bool
) -> None:
    """Make the object at `name` of the upper, over a whiteout if one is there. Raises OSError: EEXIST."""
    target = At(union.fds.fd(part), name)
    try:
        _as(union, caller, make, target, At(target.dirfd))
    except FileExistsError:
        if not part.is_whiteout(target, target.stat(), union.dialect):
            raise
        _place_over_whiteout(union, parent, target, make, caller, is_dir=is_dir)
    if parent.index is not None:
        parent.index.set_upper(name)


def _as(union: Union, caller: Caller | None, make: Maker, place: At, directory: At) -> None:
    """Make the object at `place` as `caller` would in the upper's `directory`; None: it isn't a new one."""
    if caller is None:
        make(place)
        return
    union.creator.run_as(caller, lambda: make(place))
    try:
        objects.give_new(union, place, directory, caller)
    except OSError:
        remove(place.dirfd, place.name)
        raise


def _place_over_whiteout(
    union: Union, parent: Dir, target: At, make: Maker, caller: Caller | None, *, is_dir: bool
) -> None:
    workdir = checks.writable(union)
    shelter = workdir.name()
    os.mkdir(shelter, 0o700, dir_fd=workdir.temporary)
    try:
        _resemble(workdir.temp(shelter), At(target.dirfd))
        inside = At(os.open(shelter, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=workdir.temporary), target.name)
        try:
            _as(union, caller, make, inside, At(target.dirfd))
            if is_dir:
                union.dialect.set_opaque(inside)
            whiteouts.replace(union, parent, inside, target, is_dir=is_dir)
        finally:
            os.close(inside.dirfd)
    finally:
        workdir.discard(shelter)


def _resemble(shelter: At, directory: At) -> None:
    """Let what is made in `shelter` inherit what it would inherit in `directory`."""
    st = directory.stat()
    try:
        shelter.setxattr(_DEFAULT_ACL, directory.getxattr(_DEFAULT_ACL))
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
    if st.st_mode & stat.S_ISGID:
        shelter.chown(-1, st.st_gid)
        shelter.chmod(0o700 | stat.S_ISGID)


def _new_node(union: Union, parent: Dir, part: UpperPart, name: bytes, st: os.stat_result) -> Node:
    real = real_id(st)
    ino = union.inodes.number(real)
    if union.inodes.get(ino) is not None:
        ino = union.inodes.unique()
    if stat.S_ISDIR(st.st_mode):
        directory = Dir(ino, real, parent, name)
        directory.parts.append(UpperPart(part.layer, directory))
        directory.index = DirIndex()
        directory.protection = 0
        parent.children[name] = directory
        union.inodes.add(directory)
        return directory
    node = File(ino, real, kind_of(st))
    node.protection = 0
    node.set_id = bool(st.st_mode & privileges.SET_ID)
    union.inodes.add(node)
    holding.add_name(node, parent, name)
    return node
