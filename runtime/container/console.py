"""A container's terminal: made in its own devpts, so that its name exists inside; served from outside."""

import fcntl
import os
import struct
import termios
from contextlib import suppress
from typing import Any

from unionfs.linux import descriptors

_TIOCGPTN = 0x80045430  # include/uapi/asm-generic/ioctls.h
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_USUAL_SIZE = (24, 80)


Settings = list[Any]
"""Of a terminal, as tcgetattr() gives them."""


class Terminal:
    """Both ends, and the number of the slave in its devpts."""

    def __init__(self, master: int, slave: int, number: int) -> None:
        self.slave = slave
        self.number = number
        self._master = master

    def hand_over(self, channel: int, owner: int) -> None:
        """Give the slave to the user `owner`, and the master to the other end of the socket `channel`."""
        import socket

        os.fchown(self.slave, owner, -1)
        with socket.socket(fileno=channel) as connection:
            socket.send_fds(connection, [b"t"], [self._master])
        os.close(self._master)


def open_terminal(pts: int, size: tuple[int, int]) -> Terminal:
    """A new terminal of the devpts whose root is `pts`, with that many rows and columns.

    The slave is asked of the master, not opened by path: an image may hold a /dev/pts of its own (CVE-2025-52565).
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open(b"ptmx", flags, dir_fd=pts)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, flags)
    set_size(slave, size)
    return Terminal(master, slave, number)


def receive(channel: int) -> int:
    """The master that comes through the socket `channel`, or -1 if none does. Closes the socket."""
    import socket

    with socket.socket(fileno=channel) as connection:
        _, fds = descriptors.receive(connection, 1, 1)
    return fds[0] if fds else -1


def channel() -> tuple[int, int]:
    """A socket pair for hand_over() and receive()."""
    import socket

    near, far = socket.socketpair()
    return near.detach(), far.detach()


def get_size(terminal: int) -> tuple[int, int]:
    """Rows and columns."""
    packed = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
    rows, columns, _, _ = struct.unpack("HHHH", packed)
    return rows, columns


def own_size() -> tuple[int, int]:
    """Rows and columns of this process's terminal, or the usual ones."""
    for fd in (0, 1, 2):
        with suppress(OSError):
            return get_size(fd)
    return _USUAL_SIZE


def set_size(terminal: int, size: tuple[int, int]) -> None:
    """Set rows and columns; whoever runs in the foreground there gets SIGWINCH if they change."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def settings(terminal: int) -> Settings | None:
    """Those of `terminal`, or None if it is none."""
    try:
        return termios.tcgetattr(terminal)
    except termios.error:
        return None


def lend() -> tuple[int, Settings] | None:
    """This process's terminal and its settings, for another that restores them should this one be killed."""
    saved = settings(0)
    return None if saved is None else (os.dup(0), saved)


def make_raw(terminal: int) -> None:
    """Have `terminal` pass on every key as it is: it is another terminal that gives them their meaning."""
    import tty

    tty.setraw(terminal, termios.TCSANOW)


def restore(terminal: int, saved: Settings) -> None:
    """Give `terminal` the settings it had. One that is gone needs none."""
    with suppress(termios.error):
        termios.tcsetattr(terminal, termios.TCSANOW, saved)
