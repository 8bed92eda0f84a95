"""Taking names out of the upper, with whiteouts where a lower layer would show through.

Where one system call can't do it, the names are guarded meanwhile: after a crash, those that are empty become
whiteouts at the next mount. Kernel: fs/overlayfs/dir.c:ovl_whiteout(), ovl_remove_and_whiteout().
"""

import errno
import os
import stat
from contextlib import suppress

from unionfs.core import checks
from unionfs.core.dialect import OPAQUE, WH_PREFIX, WHITEOUT
from unionfs.core.inodes import Dir
from unionfs.core.primitives import WHITEOUT_DEVICE
from unionfs.core.union import Union
from unionfs.linux import fsops
from unionfs.linux.at import At


def make(union: Union, parent: Dir, name: bytes, *, replace: bool) -> None:
    """Make `name` a whiteout in the upper's share of `parent`.

    `replace`: a file of the upper is there, and goes at the same moment. Raises OSError: ENAMETOOLONG (no room for
    `.wh.`), ENOSPC, ….
    """
    target = At(_upper(union, parent), name)
    workdir = checks.writable(union)
    if union.primitives.whiteout == "name":
        _deny(target)
        if replace:
            os.unlink(name, dir_fd=target.dirfd)
    elif not replace and union.primitives.whiteout == "char":
        _put(union, target)
    else:
        expect(union, target.dirfd)
        temporary = workdir.name()
        try:
            _put(union, workdir.temp(temporary))
            workdir.publish(temporary, target)
        except OSError:
            workdir.discard(temporary)
            raise


def remove_dir(union: Union, parent: Dir, name: bytes, *, whiteout: bool) -> None:
    """Take the upper's directory `name` of `parent`, and what is left in it, away at one moment.

    It holds nothing visible, perhaps whiteouts. `whiteout`: one takes its place.
    """
    target = At(_upper(union, parent), name)
    workdir = checks.writable(union)
    temporary = workdir.name()
    if not whiteout or union.primitives.whiteout == "name":
        if whiteout:
            _deny(target)
        try:
            os.rmdir(name, dir_fd=target.dirfd)
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        target.despite_mode(lambda: _renameat(target, workdir.temp(temporary), 0))
    elif union.primitives.exchange:
        expect(union, target.dirfd)
        try:
            _put(union, workdir.temp(temporary))
            target.despite_mode(lambda: _renameat(workdir.temp(temporary), target, fsops.RENAME_EXCHANGE))
        except OSError:
            workdir.discard(temporary)
            raise
    else:
        with workdir.guarding(_path(parent, name)):
            target.despite_mode(lambda: _renameat(target, workdir.temp(temporary), 0))
            make(union, parent, name, replace=False)
    workdir.discard(temporary)


def rename(
    union: Union, source: Dir, name: bytes, target: Dir, newname: bytes, *, whiteout: bool, over_dir: bool = False
) -> None:
    """Rename a file or directory in the upper; a file, an empty directory or a whiteout at the new place goes.

    `whiteout`: one takes the old place, at the same moment. `over_dir`: a directory of whiteouts is at the new place.
    """
    if over_dir:
        workdir = checks.writable(union)
        hollow, aside = At(_upper(union, target), newname), workdir.temp(workdir.name())
        with workdir.guarding(_path(target, newname)):
            hollow.despite_mode(lambda: _renameat(hollow, aside, 0))
            try:
                rename(union, source, name, target, newname, whiteout=whiteout)
            except OSError:
                with suppress(OSError):
                    _renameat(aside, hollow, 0)
                raise
        workdir.discard(aside.name)
        return
    old, new = At(_upper(union, source), name), At(_upper(union, target), newname)
    primitives, workdir = union.primitives, checks.writable(union)
    onto_whiteout = _is_dir(old) and _is_whiteout(union, target, new)
    if whiteout and primitives.whiteout == "name":
        is_new = _deny(old)
        try:
            _renameat(old, new, 0)
        except OSError:
            if is_new:
                os.unlink(WH_PREFIX + name, dir_fd=old.dirfd)
            raise
    elif onto_whiteout and primitives.exchange:
        # rename(2) puts no directory over a file: they swap, and the whiteout may serve at the old place
        expect(union, old.dirfd)
        _renameat(old, new, fsops.RENAME_EXCHANGE)
        if not whiteout:
            with suppress(OSError):  # it is renamed, and the whiteout hides nothing there; Kernel: ovl_cleanup()
                os.unlink(name, dir_fd=old.dirfd)
    elif onto_whiteout:
        with workdir.guarding(_path(target, newname), *([_path(source, name)] if whiteout else [])):
            os.unlink(newname, dir_fd=new.dirfd)
            _renameat(old, new, 0)
            if whiteout:
                make(union, source, name, replace=False)
    elif whiteout and primitives.rename_whiteout:
        _renameat(old, new, fsops.RENAME_WHITEOUT)
    elif whiteout:
        expect(union, old.dirfd)
        temporary = workdir.name()
        replaces = _exists(new)
        try:
            _put(union, workdir.temp(temporary))  # here it fails for want of space, before anything is renamed
            with workdir.guarding(_path(source, name)):
                _renameat(old, new, 0)
                try:
                    workdir.publish(temporary, old)
                except OSError:
                    if not replaces:
                        _renameat(new, old, 0)
                    raise
        except OSError:
            workdir.discard(temporary)
            raise
    else:
        _renameat(old, new, 0)


def replace(union: Union, parent: Dir, made: At, target: At, *, is_dir: bool) -> None:
    """Put `made`, which lies in workdir, in the place of the whiteout `target` of `parent`."""
    if not is_dir:
        _renameat(made, target, 0)
    elif union.primitives.exchange:
        made.despite_mode(lambda: _renameat(made, target, fsops.RENAME_EXCHANGE))
    else:
        with checks.writable(union).guarding(_path(parent, target.name)):
            os.unlink(target.name, dir_fd=target.dirfd)
            made.despite_mode(lambda: _renameat(made, target, 0))


def replay(union: Union) -> None:
    """Finish what a crash interrupted: guarded names at which there is nothing become whiteouts."""
    if union.workdir is None:
        return
    for paths in union.workdir.guards():
        for path in paths:
            _make_at(union, path)
    union.workdir.drop_guards()


def expect(union: Union, dirfd: int) -> None:
    """Say of the upper's directory `dirfd` that whiteouts in it may be files with an xattr, where they are."""
    if union.primitives.whiteout == "xattr":
        place = At(dirfd, b".")
        if union.dialect.get(place, OPAQUE) is None:
            union.dialect.set(place, OPAQUE, b"x")


def _make_at(union: Union, path: bytes) -> None:
    above, _, name = path.rpartition(b"/")
    try:
        dirfd = union.layers[0].open_dir(above)
    except OSError:
        return  # the directory went with all it had
    try:
        target = At(dirfd, name)
        if not _exists(target):
            if union.primitives.whiteout == "name":
                _deny(target)
            else:
                expect(union, dirfd)
                _put(union, target)
    finally:
        os.close(dirfd)


def _deny(target: At) -> bool:
    """Make the file `.wh.NAME` beside `target`, if there is none: lower layers' objects of that name are hidden."""
    try:
        os.close(At(target.dirfd, WH_PREFIX + target.name).open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _put(union: Union, target: At) -> None:
    """Make a char 0:0 or a file with an xattr at `target`."""
    checks.writable(union).put(b"whiteout", target, lambda place: _make(union, place))


def _make(union: Union, place: At) -> None:
    if union.primitives.whiteout == "char":
        os.mknod(place.name, stat.S_IFCHR, WHITEOUT_DEVICE, dir_fd=place.dirfd)
    else:
        os.mknod(place.name, stat.S_IFREG | 0o600, dir_fd=place.dirfd)
        union.dialect.set(place, WHITEOUT, b"")


def _upper(union: Union, parent: Dir) -> int:
    assert parent.upper is not None
    return union.fds.fd(parent.upper)


def _path(parent: Dir, name: bytes) -> bytes:
    above = parent.path()
    return above + b"/" + name if above else name


def _renameat(old: At, new: At, flags: int) -> None:
    fsops.renameat2(old.dirfd, old.name, new.dirfd, new.name, flags)


def _is_dir(place: At) -> bool:
    return stat.S_ISDIR(place.stat().st_mode)


def _is_whiteout(union: Union, parent: Dir, place: At) -> bool:
    assert parent.upper is not None
    try:
        return parent.upper.is_whiteout(place, place.stat(), union.dialect)
    except FileNotFoundError:
        return False


def _exists(place: At) -> bool:
    try:
        place.stat()
    except FileNotFoundError:
        return False
    return True
