"""Which descriptors a process of ours has: exactly those named, after every fork."""

import os
from collections.abc import Iterable

from unionfs.linux.libc import libc

_NR_CLOSE_RANGE = 436  # the same on every architecture
_MOST = 2**31 - 1


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor that isn't in `keep`."""
    end = _end()
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:  # closerange(0, 0) closes them all
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, end)


def point_at_null(*fds: int) -> None:
    """Make `fds` mean /dev/null, for reading and writing."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        if fd != null:
            os.dup2(null, fd)
    if null not in fds:
        os.close(null)


def _end() -> int:
    """A number above every descriptor that is open; before Linux 5.9 closerange() tries each up to it."""
    if libc.syscall(_NR_CLOSE_RANGE, _MOST, _MOST, 0) == 0:
        return _MOST
    return max(map(int, os.listdir("/proc/self/fd"))) + 1
