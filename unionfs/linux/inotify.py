"""Hearing of changes in a directory: inotify(7)."""

import os

from unionfs.linux.libc import check, libc

# include/uapi/linux/inotify.h
_IN_MODIFY = 0x2
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_DELETE_SELF = 0x400
_EVENTS = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE_SELF
_EVENT_BYTES = 65536


def watch(directory: bytes) -> int:
    """A descriptor that is readable when a file in `directory` was made, written or moved there, or it is removed."""
    fd = check(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        check(libc.inotify_add_watch(fd, directory, _EVENTS), directory)
    except OSError:
        os.close(fd)
        raise
    return fd


def clear(fd: int) -> None:
    """Forget what was heard so far."""
    try:
        while os.read(fd, _EVENT_BYTES):
            pass
    except BlockingIOError:
        return
