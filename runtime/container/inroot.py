"""Paths inside a container's root filesystem, walked by us so that no symlink in it leads out.

The walk goes one component at a time from descriptor to descriptor: `..` and absolute links stop at the root, and
nobody can swap a component that was passed. What is missing can be made on the way.
"""

import errno
import os
from typing import Literal

from unionfs.linux.fsops import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_MOST_LINKS = 40  # as the kernel's own limit
_LINK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
Kind = Literal["directory", "file"]


def open_plain(root: int, path: bytes) -> int:
    """An O_PATH descriptor of `path`, which must have no symlink in it. Raises OSError: ELOOP, ENOENT, ENOTDIR."""
    return openat2(root, path, os.O_PATH, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def open_target(root: int, path: bytes, missing: Kind) -> int:
    """An O_PATH descriptor of what `path` leads to inside `root`, made if it is missing, with its parents.

    `path` may be absolute; that is `root` itself then. Raises OSError: ELOOP, ENOTDIR, and those of mkdir(2).
    """
    above = [os.dup(root)]
    waiting = _components(path)
    links = 0
    try:
        while waiting:
            name = waiting.pop()
            if name == b"..":
                if len(above) > 1:
                    os.close(above.pop())
                continue
            fd = _step(above[-1], name, missing if not waiting else "directory")
            target = _readlink(fd)
            if target is None:
                above.append(fd)
                continue
            os.close(fd)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith(b"/"):
                _close_all(above[1:])
                del above[1:]
            waiting += _components(target)
        return above.pop()
    finally:
        _close_all(above)


def _components(path: bytes) -> list[bytes]:
    """The steps of `path`, the first one last."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]


def _step(directory: int, name: bytes, missing: Kind) -> int:
    """Open `name`, a symlink itself included; make it first if it is absent."""
    try:
        return os.open(name, _LINK, dir_fd=directory)
    except FileNotFoundError:
        _make(directory, name, missing)
        return os.open(name, _LINK, dir_fd=directory)


def _make(directory: int, name: bytes, kind: Kind) -> None:
    try:
        if kind == "directory":
            os.mkdir(name, 0o755, dir_fd=directory)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=directory))
    except FileExistsError:
        pass  # whoever shares this directory was quicker; the caller opens what is there


def _readlink(fd: int) -> bytes | None:
    """The text of the symlink that `fd` is, or None if it is something else."""
    try:
        return os.readlink(b"", dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # no symlink; both have been the kernel's answer
            return None
        raise


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
