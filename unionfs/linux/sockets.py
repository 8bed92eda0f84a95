"""A pair of connected sockets, without the module socket, which costs a container's start 3 ms."""

import ctypes
import os

from unionfs.linux.libc import check, libc

# include/linux/socket.h, include/linux/net.h
_AF_UNIX = 1
_SOCK_SEQPACKET = 5


def packet_pair() -> tuple[int, int]:
    """Two ends of a connection that keeps messages apart, closed on exec."""
    fds = (ctypes.c_int * 2)()
    check(libc.socketpair(_AF_UNIX, _SOCK_SEQPACKET | os.O_CLOEXEC, 0, fds))
    return fds[0], fds[1]
