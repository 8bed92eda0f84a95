"""What the upper's filesystem can do, tried out in workdir when a union is opened.

Kernel: fs/overlayfs/super.c:ovl_make_workdir() does the same.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from unionfs.core.dialect import WH_PREFIX
from unionfs.core.workdir import Workdir
from unionfs.linux import fsops
from unionfs.linux.at import At

WHITEOUT_DEVICE = 0  # makedev(0, 0)
_CANT = frozenset({
    errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EACCES, errno.EMLINK, errno.ENOTTY,
    errno.ENOENT,  # fuse-overlayfs takes char 0:0 for a whiteout: it has made one, and finds nothing
})  # fmt: skip


class Primitives(NamedTuple):
    """What may be used in the upper."""

    whiteout: Literal["char", "xattr", "name", ""]
    """How a deletion is written: char 0:0, an empty file with an xattr, a file called `.wh.NAME`, or not at all."""
    exchange: bool
    """RENAME_EXCHANGE."""
    rename_whiteout: bool
    """RENAME_WHITEOUT."""
    hard_links: bool


NO_UPPER = Primitives("char", exchange=False, rename_whiteout=False, hard_links=False)


def probe(workdir: Workdir, *, xattrs: bool) -> Primitives:
    """Try each in workdir; `xattrs`: whether the upper holds the marks. Raises OSError: EIO, ENOSPC, EROFS, …"""
    dirfd = workdir.temporary
    one, other = workdir.name(), workdir.name()
    try:
        char = _works(lambda: os.mknod(one, stat.S_IFCHR, WHITEOUT_DEVICE, dir_fd=dirfd))
        if not char:
            one = workdir.name()  # what isn't found may be in the way nevertheless
            os.mknod(one, stat.S_IFREG | 0o600, dir_fd=dirfd)
        hard_links = _works(lambda: os.link(one, other, src_dir_fd=dirfd, dst_dir_fd=dirfd))
        if hard_links:
            os.unlink(other, dir_fd=dirfd)
        os.mkdir(other, 0o700, dir_fd=dirfd)
        exchange = _works(lambda: fsops.renameat2(dirfd, one, dirfd, other, fsops.RENAME_EXCHANGE))
        workdir.discard(one)
        workdir.discard(other)
        os.mknod(one, stat.S_IFREG | 0o600, dir_fd=dirfd)
        rename_whiteout = char and _works(lambda: fsops.renameat2(dirfd, one, dirfd, other, fsops.RENAME_WHITEOUT))
        denied = At(dirfd, WH_PREFIX + one)
        named = _works(lambda: os.close(denied.open(os.O_WRONLY | os.O_CREAT, 0o600)))
    finally:
        for name in (one, other, WH_PREFIX + one):
            workdir.discard(name)
    whiteout: Final = "char" if char else "xattr" if xattrs else "name" if named else ""
    return Primitives(whiteout, exchange, rename_whiteout, hard_links)


def _works(call: Callable[[], None]) -> bool:
    try:
        call()
    except OSError as error:
        if error.errno in _CANT:
            return False
        raise
    return True
