"""A private, detached view of a directory tree: the mount without its submounts, read-only if asked."""

import ctypes
import os

from unionfs.linux.libc import check, libc

# include/uapi/linux/mount.h; the numbers are the same on every architecture
_NR_OPEN_TREE = 428
_NR_MOUNT_SETATTR = 442
_OPEN_TREE_CLONE = 1
_AT_EMPTY_PATH = 0x1000
_MOUNT_ATTR_RDONLY = 0x1
_MOUNT_ATTR_NOATIME = 0x10
_MOUNT_ATTR__ATIME = 0x70


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def detached_clone(path: bytes) -> int:
    """An O_PATH descriptor of a read-only, noatime clone of the mount at `path`, without its submounts.

    Nobody else sees the clone; it goes with its last descriptor. Raises OSError: EPERM (needs CAP_SYS_ADMIN),
    EINVAL (unprivileged namespaces whose mounts are locked), ENOSYS (before Linux 5.12), and those of a path walk.
    Kernel: fs/namespace.c:open_detached_copy(). fs/overlayfs clones its layers the same way.
    """
    fd = check(libc.syscall(_NR_OPEN_TREE, -100, path, _OPEN_TREE_CLONE | os.O_CLOEXEC), path)
    attr = _MountAttr(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOATIME, _MOUNT_ATTR__ATIME, 0, 0)
    try:
        check(
            libc.syscall(_NR_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, ctypes.byref(attr), ctypes.sizeof(attr)), path
        )
    except OSError:
        os.close(fd)
        raise
    return fd
