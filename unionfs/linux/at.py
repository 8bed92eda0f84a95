"""An object given as (directory descriptor, name): everything one can ask of it or do to it, never through a symlink.

An empty name means the descriptor's own object, whatever its kind (O_PATH descriptors included). Where the kernel
has no call for such a pair, /proc/self/fd/N/NAME reaches the same object. Every method raises OSError as its
system call does.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from unionfs.linux.libc import check, libc

T = TypeVar("T")

_PATH_MAX = 4096
_PRIVATE_OPEN = os.O_CLOEXEC | os.O_NOCTTY


class At(NamedTuple):
    """A place of an object: `name` in the directory `dirfd`, or `dirfd` itself if `name` is empty."""

    dirfd: int
    name: bytes = b""

    @property
    def path(self) -> bytes:
        """A path to the object for calls that know no descriptors."""
        return b"/proc/self/fd/%d/%s" % self if self.name else b"/proc/self/fd/%d" % self.dirfd

    def stat(self) -> os.stat_result:
        if self.name:
            return os.stat(self.name, dir_fd=self.dirfd, follow_symlinks=False)
        return os.fstat(self.dirfd)

    def open(self, flags: int, mode: int = 0) -> int:
        """Open the object, close-on-exec. A symlink gives ELOOP unless `flags` has O_PATH."""
        if self.name:
            return os.open(self.name, flags | os.O_NOFOLLOW | _PRIVATE_OPEN, mode, dir_fd=self.dirfd)
        return os.open(self.path, flags | _PRIVATE_OPEN)

    def readlink(self) -> bytes:
        if self.name:
            return os.readlink(self.name, dir_fd=self.dirfd)
        target = ctypes.create_string_buffer(_PATH_MAX)  # os.readlink refuses the empty path that means the descriptor
        return target.raw[: check(libc.readlinkat(self.dirfd, b"", target, _PATH_MAX))]

    def chmod(self, mode: int) -> None:
        """Precondition: not a symlink (Linux has no mode of symlinks)."""
        if self.name:
            os.chmod(self.name, mode, dir_fd=self.dirfd)
        else:
            os.chmod(self.path, mode)

    def chown(self, uid: int, gid: int) -> None:
        """-1 leaves an id as it is. Clears set-id bits of files as chown(2) does."""
        if self.name:
            os.chown(self.name, uid, gid, dir_fd=self.dirfd, follow_symlinks=False)
        else:
            os.chown(self.path, uid, gid)

    def despite_mode(self, change: Callable[[], T]) -> T:
        """Call `change`, which the object's mode may forbid: even its owner writes no directory of mode 0555, nor its
        attributes, nor moves it, without CAP_DAC_OVERRIDE. The mode is another meanwhile, if need be."""
        try:
            return change()
        except PermissionError as error:
            if error.errno != errno.EACCES:
                raise
        fd = self.open(os.O_PATH)
        try:
            kept = At(fd)
            mode = stat.S_IMODE(kept.stat().st_mode)
            kept.chmod(mode | stat.S_IRWXU)
            try:
                return change()
            finally:
                kept.chmod(mode)
        finally:
            os.close(fd)

    def utime(self, atime_ns: int, mtime_ns: int) -> None:
        if self.name:
            os.utime(self.name, ns=(atime_ns, mtime_ns), dir_fd=self.dirfd, follow_symlinks=False)
        else:
            os.utime(self.path, ns=(atime_ns, mtime_ns))

    def truncate(self, size: int) -> None:
        fd = self.open(os.O_WRONLY)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def getxattr(self, key: bytes) -> bytes:
        """Value of `key`. Raises OSError: ENODATA (absent), EOPNOTSUPP."""
        return os.getxattr(self.path, key, follow_symlinks=not self.name)

    def listxattr(self) -> list[bytes]:
        """The keys in the kernel's order; none where the filesystem has no xattrs."""
        try:
            return [os.fsencode(key) for key in os.listxattr(self.path, follow_symlinks=not self.name)]
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return []
            raise

    def setxattr(self, key: bytes, value: bytes, flags: int = 0) -> None:
        os.setxattr(self.path, key, value, flags, follow_symlinks=not self.name)

    def removexattr(self, key: bytes) -> None:
        os.removexattr(self.path, key, follow_symlinks=not self.name)
