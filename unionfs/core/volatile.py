"""The mark of an upper that is written without syncing: while it lies in workdir, the machine may not crash.

Kernel: fs/overlayfs/super.c:ovl_create_volatile_dirty(); Documentation/filesystems/overlayfs.rst, "Volatile mount".
The kernel leaves the mark for its user to remove; here a clean unmount syncs the upper once and removes it.
"""

import os
from contextlib import suppress

from unionfs.core.errors import UnionError
from unionfs.core.union import Union
from unionfs.linux import fsops

_FEATURES = b"work/incompat"
_MARK = b"volatile"


def check(workdir_fd: int, path: bytes) -> None:
    """Refuse a workdir whose upper may be damaged, or is written in a way that isn't known here. Raises UnionError."""
    try:
        fd = os.open(_FEATURES, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=workdir_fd)
    except OSError:
        return
    try:
        features = sorted(os.listdir(fd))
    finally:
        os.close(fd)
    work = os.path.join(os.fsdecode(path), os.fsdecode(_FEATURES))
    if _MARK.decode() in features:
        raise UnionError(
            f"work directory {os.fsdecode(path)!r}: its upper layer was mounted volatile and not unmounted since, so a "
            f"crash may have damaged it: throw both away, or remove {work}/volatile if nothing crashed"
        )
    if features:
        raise UnionError(f"work directory {os.fsdecode(path)!r}: it needs the feature {features[0]!r}, see {work}")


def mark(union: Union) -> None:
    """Leave the mark if the union is volatile; before the first request. Raises OSError."""
    if union.options.volatile and union.workdir is not None:
        os.makedirs(b"/proc/self/fd/%d/incompat/%s" % (union.workdir.temporary, _MARK), exist_ok=True)


def settle(union: Union) -> None:
    """After a clean unmount of a volatile union: let the upper reach the disk, then forget that it was volatile."""
    if not union.options.volatile or union.workdir is None:
        return
    try:
        fsops.syncfs(union.workdir.temporary)
    except OSError:
        return  # data was lost: the mark tells
    with suppress(OSError):
        os.rmdir(b"incompat/" + _MARK, dir_fd=union.workdir.temporary)
        os.rmdir(b"incompat", dir_fd=union.workdir.temporary)
