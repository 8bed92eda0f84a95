"""Mounts: the calls on paths (mount, umount2, pivot_root) and the newer ones on descriptors.

Prefer the descriptors: a mount made by fsmount() or open_tree() belongs to nobody until move_mount() attaches it, and
both ends of that are objects already opened and checked, so no path can be swapped in between. Paths are bytes.
Every function raises OSError: EPERM (CAP_SYS_ADMIN is missing), ENOSYS (a kernel before Linux 5.12).
"""

import ctypes
import os
from collections.abc import Mapping

from unionfs.linux.libc import check, libc

# include/uapi/linux/mount.h
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_PROPAGATION = {"private": _MS_PRIVATE, "slave": 0x80000, "shared": 0x100000}
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
_MOUNT_ATTR__ATIME = 0x70  # the field that the next two are values of
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
_MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_BOTH_EMPTY = 0x44  # MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6

# the same numbers on every architecture
_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_MOUNT_SETATTR = 442


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def make_private(target: bytes) -> None:
    """Cut the mount at `target`, and all below it, off from every other namespace, in both directions."""
    check(libc.mount(None, target, None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), target)


def set_propagation(mount: int, kind: str) -> None:
    """Make the mount that `mount` is the root of, and all below it, private, slave or shared."""
    attr = _MountAttr(0, 0, _PROPAGATION[kind], 0)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    check(libc.syscall(_NR_MOUNT_SETATTR, mount, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr)))


def set_ids(mount: int, user: int, *, recursive: bool = False) -> None:
    """Have the detached mount `mount` show the id N of its files as what is N in the user namespace `user`.

    And what is made there as N belongs to N. Raises OSError: EINVAL (its filesystem can't, or it is mapped already).
    """
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    attr = _MountAttr(_MOUNT_ATTR_IDMAP, 0, 0, user)
    check(libc.syscall(_NR_MOUNT_SETATTR, mount, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr)))


def umount2(target: bytes, flags: int = 0) -> None:
    """Unmount what is mounted at `target`; MNT_DETACH also when it is in use. Raises OSError: EBUSY, EINVAL."""
    check(libc.umount2(target, flags), target)


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """Make the mount `new_root` the root of this namespace, and hang the old root at `put_old`.

    Both may be b".": the old root then lies over the new one until umount2(b".", MNT_DETACH), and no directory
    is needed for it. Raises OSError: EINVAL (not a mount, or the old root is shared or rootfs), EBUSY.
    Kernel: fs/namespace.c:path_pivot_root().
    """
    check(libc.pivot_root(new_root, put_old), new_root)


def fsmount(fstype: bytes, options: Mapping[bytes, bytes | None], attributes: int = 0) -> int:
    """A new instance of a filesystem as a detached mount: its descriptor.

    An option without a value is None. `attributes` are MOUNT_ATTR_*.
    Raises OSError: ENODEV (no such filesystem here), EINVAL (an option it doesn't know).
    """
    context = check(libc.syscall(_NR_FSOPEN, fstype, _FSOPEN_CLOEXEC), fstype)
    try:
        for key, value in options.items():
            kind = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            check(libc.syscall(_NR_FSCONFIG, context, kind, key, value, 0), key)
        check(libc.syscall(_NR_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), fstype)
        return check(libc.syscall(_NR_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes), fstype)
    finally:
        os.close(context)


def open_tree(dirfd: int | None, path: bytes, *, recursive: bool = False, follow: bool = False) -> int:
    """A detached clone of the mount that shows `path` of `dirfd` (None: the working directory), rooted there.

    What is mounted below comes along if `recursive`. Raises OSError: EINVAL (`dirfd` is itself detached, before
    Linux 6.15; or a mount below is locked), and those of a path walk.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
    flags |= (_AT_RECURSIVE if recursive else 0) | (0 if follow else _AT_SYMLINK_NOFOLLOW)
    return check(libc.syscall(_NR_OPEN_TREE, _AT_FDCWD if dirfd is None else dirfd, path, flags), path)


def move_mount(mount: int, target: int) -> None:
    """Attach the detached `mount` to the object that `target` is open on (O_PATH suffices).

    Raises OSError: ENOTDIR (one is a directory and the other isn't), ENOENT (the target was removed).
    """
    check(libc.syscall(_NR_MOVE_MOUNT, mount, b"", target, b"", _MOVE_MOUNT_BOTH_EMPTY))


def set_attributes(mount: int, attributes: int, *, recursive: bool = False) -> None:
    """Add MOUNT_ATTR_* to the mount that `mount` is the root of, and to all below it at once if `recursive`."""
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    cleared = _MOUNT_ATTR__ATIME if attributes & _MOUNT_ATTR__ATIME else 0
    attr = _MountAttr(attributes, cleared, 0, 0)
    check(libc.syscall(_NR_MOUNT_SETATTR, mount, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr)))
