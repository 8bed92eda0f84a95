"""Which descriptors a process of ours has: exactly those named, after every fork."""

import errno
import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

from unionfs.linux.libc import libc

if TYPE_CHECKING:
    import socket

_NR_CLOSE_RANGE = 436  # the same on every architecture
_MOST = 2**31 - 1
_NULL = os.makedev(1, 3)


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor that isn't in `keep`."""
    end = _end()
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:  # closerange(0, 0) closes them all
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, end)


def receive(connection: "socket.socket", most_bytes: int, most: int) -> tuple[bytes, list[int]]:
    """The next message of a socket and the descriptors that come with it, which no program of ours inherits.

    socket.recv_fds() takes no notice of its flags (Python 3.11), so what it gives stays open in what is executed.
    """
    import socket
    import struct

    space = socket.CMSG_SPACE(most * 4)
    message, ancillary, _, _ = connection.recvmsg(most_bytes, space, socket.MSG_CMSG_CLOEXEC)
    rights = [data for level, kind, data in ancillary if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)]
    return message, [fd for data in rights for (fd,) in struct.iter_unpack("i", data[: len(data) // 4 * 4])]


def open_null() -> int:
    """/dev/null, for reading and writing, and nothing else that somebody may have put there.

    Among the files of a container that could be a link to /proc/1/mem, which we can open and its processes can't.
    Raises OSError: ELOOP, ENOTDIR, ENODEV (it is something else) and those of open(2).
    """
    dev = os.open("/dev", os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        null = os.open("null", os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW, dir_fd=dev)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "/dev/null") from None
    finally:
        os.close(dev)
    status = os.fstat(null)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _NULL:
        os.close(null)
        raise OSError(errno.ENODEV, "not the null device", "/dev/null")
    return null


def point_at_null(*fds: int) -> None:
    """Make `fds` mean /dev/null, for programs that are executed, too. Raises OSError as open_null() does."""
    null = open_null()
    for fd in fds:
        if fd != null:
            os.dup2(null, fd)
    if null in fds:
        os.set_inheritable(null, True)
    else:
        os.close(null)


def _end() -> int:
    """A number above every descriptor that is open; before Linux 5.9 closerange() tries each up to it."""
    if libc.syscall(_NR_CLOSE_RANGE, _MOST, _MOST, 0) == 0:
        return _MOST
    return max(map(int, os.listdir("/proc/self/fd"))) + 1
