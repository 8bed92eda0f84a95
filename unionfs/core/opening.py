"""From options to a union: layers are opened and checked, upper and workdir locked, what they can hold is probed.

Everything that can be wrong with what the user gave is found here, before anything is mounted, and said in one line.
"""

import errno
import fcntl
import os
import resource
import stat
import time

from unionfs.core import owners, volatile, whiteouts
from unionfs.core.dialect import TRUSTED, USER, Dialect, any_dialect, overlay_dialect
from unionfs.core.errors import UnionError
from unionfs.core.inodes import Dir, InodeTable, UpperPart, real_id
from unionfs.core.layer import DirFds, DirPart, Layer
from unionfs.core.options import UnionOptions
from unionfs.core.origin import Origins
from unionfs.core.override import HIDDEN
from unionfs.core.primitives import NO_UPPER, Primitives, probe
from unionfs.core.union import Union
from unionfs.core.workdir import Workdir, open_index
from unionfs.linux.at import At
from unionfs.linux.clone import detached_clone

_OPEN_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CLONE_REFUSED = (errno.EPERM, errno.ENOSYS, errno.EINVAL)
_MAX_DIR_FDS = 4096
_USUAL_NAME_MAX = 255
_LOCK_PAUSE_S = 0.01
_LOCK_ATTEMPTS = 100


def open_union(options: UnionOptions) -> Union:
    """Open the layers of `options` as one union. Raises UnionError; nothing stays open or locked then."""
    opened: list[int] = []
    try:
        return _open(options, opened)
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise


def _open(options: UnionOptions, opened: list[int]) -> Union:
    _check_options(options)
    layers: list[Layer] = []
    workdir = None
    primitives = NO_UPPER
    locks: tuple[int, ...] = ()
    if options.upper is not None and options.workdir is not None:
        upper = _open_directory(options.upper, "upper layer", opened)
        layers.append(Layer(0, options.upper, upper, is_upper=True))
    for number, path in enumerate(options.lower, 1):
        layers.append(Layer(number, path, _open_lower(path, opened), is_bottom=number == len(options.lower)))
    prefix = b""
    if options.upper is not None and options.workdir is not None:
        work = _open_directory(options.workdir, "work directory", opened)
        _check_upper(options, layers, work)
        locks = (_lock(options.upper, "upper layer", opened), _lock(options.workdir, "work directory", opened))
        volatile.check(work, options.workdir)
        try:
            workdir = Workdir(work, opened)
        except OSError as error:
            raise _about("work directory", options.workdir, error) from None
        prefix = _xattr_prefix(options, workdir)
        primitives = _probe(options, workdir, prefix)
        layers[0].xwhiteouts = primitives.whiteout == "xattr"
        opened.remove(work)
        os.close(work)
    index = workdir.index if workdir is not None else _open_index(options, opened)
    union = _assemble(options, layers, workdir, index, primitives, locks, _dialect(options, prefix))
    opened += union.origins.descriptors
    try:
        whiteouts.replay(union)
    except OSError as error:
        raise _about("upper layer", layers[0].path, error) from None
    return union


def _open_index(options: UnionOptions, opened: list[int]) -> int | None:
    if options.lower_workdir is None:
        return None
    try:
        index = open_index(options.lower_workdir)
    except OSError as error:
        raise _about("index of hard links in", options.lower_workdir, error) from None
    if index is not None:
        opened.append(index)
    return index


def _probe(options: UnionOptions, workdir: Workdir, prefix: bytes) -> Primitives:
    upper = os.fsdecode(options.upper or b"")
    try:
        primitives = probe(workdir, xattrs=bool(prefix))
    except OSError as error:
        raise _about("work directory", options.workdir or b"", error) from None
    if not primitives.whiteout:
        raise UnionError(
            f"upper layer {upper!r}: its filesystem keeps none of the forms in which deletions are written, as one "
            "that is a union itself: choose another upper"
        )
    if primitives.whiteout == "name" and options.dialect == "overlay":
        raise UnionError(
            f"upper layer {upper!r}: its filesystem holds neither device nodes nor extended attributes, so deletions "
            "can only be written as .wh. files: mount with dialect=auto, or choose another upper"
        )
    return primitives


def _assemble(
    options: UnionOptions,
    layers: list[Layer],
    workdir: Workdir | None,
    index: int | None,
    primitives: Primitives,
    locks: tuple[int, ...],
    dialect: Dialect,
) -> Union:
    fds = DirFds(min(_MAX_DIR_FDS, max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)))
    inodes = InodeTable()
    origins = Origins()
    stats = [os.fstat(layer.root) for layer in layers]
    for layer, st in zip(layers, stats, strict=True):
        inodes.number(real_id(st))  # numbers the filesystems, the upper's first
        origins.add_layer(layer.root, st.st_dev)
    # a merged directory shows the number of its uppermost lower
    first_lower = 0 if workdir is None else 1
    root = Dir(inodes.number(real_id(stats[first_lower])), real_id(stats[0]), None, b"")
    for layer in layers:
        root.parts.append(UpperPart(layer, root) if layer.is_upper else DirPart(layer, b""))
        if dialect.is_emptied(layer.root, b"."):  # by a file; the kernel looks for no xattr there
            break
    inodes.add(root)
    name_max = _name_max(layers[0].root)
    ids = owners.open_ids(options, layers)
    if ids is not None:
        dialect = dialect._replace(hidden=HIDDEN)
    return Union(
        options, tuple(layers), dialect, fds, origins, inodes, root, name_max, workdir, index, primitives, ids, locks
    )


def _name_max(root: int) -> int:
    try:
        return os.fstatvfs(root).f_namemax
    except OSError:  # a FUSE filesystem needn't have statfs
        return _USUAL_NAME_MAX


def _check_options(options: UnionOptions) -> None:
    if not options.lower:
        raise UnionError("no lower layer: name at least one directory in lowerdir")
    if (options.upper is None) != (options.workdir is None):
        given, missing = ("upperdir", "workdir") if options.workdir is None else ("workdir", "upperdir")
        raise UnionError(f"{given} needs {missing}: give both for a writable mount, neither for a read-only one")
    owners.check(options)


def _open_directory(path: bytes, what: str, opened: list[int]) -> int:
    try:
        fd = os.open(path, _OPEN_ROOT)
        opened.append(fd)
        # a directory that can't be listed would show up as an empty one
        os.close(os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd))
    except OSError as error:
        raise _about(what, path, error) from None
    return fd


def _open_lower(path: bytes, opened: list[int]) -> int:
    fd = _open_directory(path, "lower layer", opened)
    try:
        clone = detached_clone(b"/proc/self/fd/%d" % fd)
    except OSError as error:
        if error.errno in _CLONE_REFUSED:
            return fd
        raise _about("lower layer", path, error) from None
    opened.append(clone)
    opened.remove(fd)
    os.close(fd)
    return clone


def _about(what: str, path: bytes, error: OSError) -> UnionError:
    hints = {
        errno.ENOENT: "it doesn't exist; create it or correct the path",
        errno.ENOTDIR: "not a directory; layers are directories (mount an image file first)",
        errno.EACCES: "permission denied; it must be readable by the user who mounts",
        errno.ELOOP: "too many symbolic links on the way to it",
    }
    reason = hints.get(error.errno or 0, os.strerror(error.errno or errno.EIO))
    return UnionError(f"{what} {os.fsdecode(path)!r}: {reason}")


def _check_upper(options: UnionOptions, layers: list[Layer], work: int) -> None:
    assert options.upper is not None
    assert options.workdir is not None
    upper = layers[0]
    upper_name, work_name = os.fsdecode(options.upper), os.fsdecode(options.workdir)
    if os.fstat(upper.root).st_dev != os.fstat(work).st_dev:
        raise UnionError(
            f"work directory {work_name!r} is on another filesystem than the upper layer {upper_name!r}: "
            "choose one on the same filesystem"
        )
    upper_line, work_line = _ancestry(upper.root), _ancestry(work)
    if upper_line[0] in work_line or work_line[0] in upper_line:
        raise UnionError(
            f"work directory {work_name!r} and upper layer {upper_name!r} contain one another: "
            "use two directories side by side"
        )
    for layer in layers[1:]:
        name = os.fsdecode(layer.path)
        identity = _identity(layer.root)
        inside = identity in upper_line or identity in work_line
        if inside and (not options.allow_nested or identity in (upper_line[0], work_line[0])):
            what = f"upper layer {upper_name!r}" if identity in upper_line else f"work directory {work_name!r}"
            raise UnionError(f"{what} lies inside the lower layer {name!r}: move it out of every layer")
        lower_line = _ancestry_of_path(layer.path)
        for what, line in ((f"upper layer {upper_name!r}", upper_line), (f"work directory {work_name!r}", work_line)):
            if line[0] in lower_line:
                raise UnionError(f"lower layer {name!r} lies inside the {what}: move it out")
    for fd, what in ((upper.root, f"upper layer {upper_name!r}"), (work, f"work directory {work_name!r}")):
        if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
            raise UnionError(f"{what} is on a read-only filesystem: choose a writable one, or mount without upperdir")


def _identity(fd: int) -> tuple[int, int]:
    return real_id(os.fstat(fd))


def _ancestry(fd: int) -> list[tuple[int, int]]:
    """Identity of the directory `fd` and of all above it, nearest first."""
    line: list[tuple[int, int]] = []
    walk = os.open(b".", _OPEN_ROOT, dir_fd=fd)
    try:
        while not line or line[-1] != _identity(walk):
            line.append(_identity(walk))
            above = os.open(b"..", _OPEN_ROOT, dir_fd=walk)
            os.close(walk)
            walk = above
    finally:
        os.close(walk)
    return line


def _ancestry_of_path(path: bytes) -> list[tuple[int, int]]:
    fd = os.open(path, _OPEN_ROOT)  # not the layer's descriptor: nothing is above a detached clone
    try:
        return _ancestry(fd)
    finally:
        os.close(fd)


def _lock(path: bytes, what: str, opened: list[int]) -> int:
    """Take the flock that says a union uses `path` for writing; it goes with the last copy of the descriptor."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.append(fd)
    try:
        _flock(fd)
    except BlockingIOError:
        raise UnionError(
            f"{what} {os.fsdecode(path)!r} is in use by another mount: "
            "unmount that one first, or choose another directory"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
            raise _about(what, path, error) from None
    return fd


def _flock(fd: int) -> None:
    """Lock `fd`, or wait a second for it: umount(8) returns before the driver of what it unmounted has ended."""
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _dialect(options: UnionOptions, prefix: bytes) -> Dialect:
    if options.dialect == "overlay":
        return overlay_dialect(prefix or (USER if options.userxattr else TRUSTED))
    return any_dialect(prefix)._replace(hidden=HIDDEN)


def _xattr_prefix(options: UnionOptions, workdir: Workdir) -> bytes:
    """The first family of xattrs that the upper takes and the options allow; empty if it takes none."""
    choices = {True: (USER,), False: (TRUSTED,), None: (TRUSTED, USER)}[options.userxattr]
    name = workdir.name()
    os.mknod(name, stat.S_IFREG | 0o600, dir_fd=workdir.temporary)
    try:
        for prefix in choices:
            place, key = At(workdir.temporary, name), prefix + b"probe"
            try:
                place.setxattr(key, b"y")
                place.getxattr(key)  # fuse-overlayfs takes it, and doesn't show it
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EACCES, errno.ENODATA):
                    raise
            else:
                return prefix
        return b""
    finally:
        workdir.discard(name)
