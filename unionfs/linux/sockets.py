"""What the module socket can't do, or not without its import, which costs a container's start 3 ms."""

import ctypes
import os
import struct

from unionfs.linux.libc import check, libc

# include/linux/socket.h, include/linux/net.h
_AF_UNIX = 1
_SOCK_SEQPACKET = 5
_BACKLOG = 16
_ADDRESS = struct.Struct("=H108s")  # include/uapi/linux/un.h


def packet_pair() -> tuple[int, int]:
    """Two ends of a connection that keeps messages apart, closed on exec."""
    fds = (ctypes.c_int * 2)()
    check(libc.socketpair(_AF_UNIX, _SOCK_SEQPACKET | os.O_CLOEXEC, 0, fds))
    return fds[0], fds[1]


def packet_socket() -> int:
    """One that is connected to nothing, closed on exec; as any socket, it can be asked about interfaces."""
    return check(libc.socket(_AF_UNIX, _SOCK_SEQPACKET | os.O_CLOEXEC, 0))


def listen(path: bytes) -> int:
    """A packet socket that others connect to at `path`, of less than 108 bytes. Raises OSError: EADDRINUSE."""
    fd = packet_socket()
    try:
        address = _ADDRESS.pack(_AF_UNIX, path)
        check(libc.bind(fd, address, len(address)))
        check(libc.listen(fd, _BACKLOG))
    except OSError:
        os.close(fd)
        raise
    return fd


def ask_option(fd: int, level: int, option: int, question: bytes) -> bytes:
    """getsockopt(2) where the kernel reads the buffer first: the answer in its place. Raises OSError."""
    buffer = ctypes.create_string_buffer(question, len(question))
    size = ctypes.c_uint(len(question))
    check(libc.getsockopt(fd, level, option, buffer, ctypes.byref(size)))
    return buffer.raw[: size.value]
