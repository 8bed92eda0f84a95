"""Which descriptors a process of ours has: exactly those named, after every fork."""

import os
from collections.abc import Iterable

_MOST = 2**31 - 1


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor that isn't in `keep`."""
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:  # closerange(0, 0) closes them all
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _MOST)


def point_at_null(*fds: int) -> None:
    """Make `fds` mean /dev/null, for reading and writing."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        if fd != null:
            os.dup2(null, fd)
    if null not in fds:
        os.close(null)
