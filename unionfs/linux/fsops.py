"""File system calls the standard library lacks: openat2, renameat2, file handles, identity of the caller.

Names are bytes; a directory is a descriptor, O_PATH ones included unless a function says otherwise.
"""

import ctypes
import fcntl
import os
import struct
from typing import NamedTuple

from unionfs.linux.libc import check, libc

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

# include/uapi/linux/openat2.h
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYNC_FILE_RANGE_WRITE = 2  # include/uapi/linux/fs.h

_NR_OPENAT2 = 437  # the same on every architecture (Linux 5.6)
_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
# struct statx, include/uapi/linux/stat.h
_STATX_BYTES = 256
_STATX_BTIME = 0x800
_STX_ATTRIBUTES_OFFSET = 8
_STX_BTIME_OFFSET = 80
_MAX_HANDLE_BYTES = 128
# _IOR(0x15, 0, struct fsuuid2): Linux 6.9, include/uapi/linux/fs.h
_FS_IOC_GETFSUUID = 0x80111500


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class FileHandle(NamedTuple):
    """A persistent name of an inode on its filesystem: struct file_handle."""

    type: int
    fid: bytes


def openat2(dirfd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """Open `path` below `dirfd` with `resolve` (RESOLVE_*) limiting the walk; close-on-exec.

    Raises OSError: ELOOP (a symlink and RESOLVE_NO_SYMLINKS), EXDEV (a mount point and RESOLVE_NO_XDEV, or an
    escape and RESOLVE_BENEATH), ENOSYS (before Linux 5.6) and those of open(2).
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return check(libc.syscall(_NR_OPENAT2, dirfd, path, ctypes.byref(how), ctypes.sizeof(how)), path)


def renameat2(olddir: int, oldname: bytes, newdir: int, newname: bytes, flags: int) -> None:
    """rename(2) with RENAME_* `flags`. Raises OSError: EINVAL where the filesystem lacks a flag."""
    check(libc.renameat2(olddir, oldname, newdir, newname, flags), oldname)


def syncfs(fd: int) -> None:
    """Sync the filesystem `fd` is on. Raises OSError: EIO, ENOSPC (data was lost since `fd` was opened)."""
    check(libc.syncfs(fd))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) with its FALLOC_FL_* `mode`. Raises OSError: EOPNOTSUPP (not with this mode on this filesystem)."""
    check(libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def start_writing(fd: int, offset: int, length: int) -> None:
    """Begin to write pages of that range to the disk, and don't wait for them. Errors are told by fsync(2)."""
    libc.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE)


def birth_ns(dirfd: int, name: bytes) -> int | None:
    """When `name` in `dirfd` (`dirfd` itself if empty) was made, in nanoseconds since 1970; None: not recorded."""
    found = _statx(dirfd, name, _STATX_BTIME)
    (mask,) = struct.unpack_from("=I", found)
    seconds, nanoseconds = struct.unpack_from("=qI", found, _STX_BTIME_OFFSET)
    return int(seconds * 10**9 + nanoseconds) if mask & _STATX_BTIME else None


def attributes(dirfd: int, name: bytes) -> int:
    """STATX_ATTR_* of `name` in `dirfd` (`dirfd` itself if empty)."""
    (found,) = struct.unpack_from("=Q", _statx(dirfd, name, 0), _STX_ATTRIBUTES_OFFSET)
    return int(found)


def _statx(dirfd: int, name: bytes, mask: int) -> "ctypes.Array[ctypes.c_char]":
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    check(libc.statx(dirfd, name, _AT_EMPTY_PATH | _AT_SYMLINK_NOFOLLOW, mask, buffer), name)
    return buffer


def name_to_handle(dirfd: int, name: bytes) -> FileHandle:
    """The file handle of `name` in `dirfd` (of `dirfd` itself if empty); symlinks are not followed.

    Raises OSError: EOPNOTSUPP (the filesystem can't be exported) and those of a path walk.
    """
    buffer = ctypes.create_string_buffer(8 + _MAX_HANDLE_BYTES)
    struct.pack_into("Ii", buffer, 0, _MAX_HANDLE_BYTES, 0)
    mount_id = ctypes.c_int()
    check(libc.name_to_handle_at(dirfd, name, buffer, ctypes.byref(mount_id), _AT_EMPTY_PATH), name)
    size, kind = struct.unpack_from("Ii", buffer)
    return FileHandle(kind, buffer.raw[8 : 8 + size])


def open_by_handle(mount_fd: int, handle: FileHandle, flags: int = os.O_PATH) -> int:
    """Open the inode behind `handle`; `mount_fd` is any open (not O_PATH) file of its filesystem.

    Raises OSError: ESTALE (no such inode any more), EPERM (needs CAP_DAC_READ_SEARCH).
    """
    buffer = struct.pack("Ii", len(handle.fid), handle.type) + handle.fid
    return check(libc.open_by_handle_at(mount_fd, buffer, flags | os.O_CLOEXEC))


def filesystem_uuid(fd: int) -> bytes:
    """The 16-byte UUID of the filesystem of `fd` (not O_PATH), or zeros where the kernel can't tell."""
    try:
        answer = fcntl.ioctl(fd, _FS_IOC_GETFSUUID, bytes(17))
    except OSError:
        return bytes(16)
    return answer[1:17] if answer[0] == 16 else bytes(16)


def setfsuid(uid: int) -> None:
    """Set the identity with which this thread creates files: setfsuid(2). It never fails, and never tells."""
    libc.setfsuid(ctypes.c_uint(uid))


def setfsgid(gid: int) -> None:
    """Set the group with which this thread creates files: setfsgid(2)."""
    libc.setfsgid(ctypes.c_uint(gid))
