"""The control socket of a living container, RUNROOT/ID/control: its monitor listens, commands connect.

A message is a packet, one letter and what it is about; neither side ever waits for a second half of one. Whoever
connects says nothing but what it wants: `a` to get and give streams, `s` to stop. All are told of start and end.

    to the monitor                              from the monitor
    a + letters   attach to these streams       o e + data  output, error output
    i + data      input; without data: its end  r           the command runs
    w + size      rows and columns              f + text    it doesn't: exit status, why
    k + number    pass this signal on           x + number  it has ended: exit status; the last message
    c + letter    nobody reads that stream      s           heard: it won't be started again when it ends
    d             this one may leave without ending the container
    s             don't start it again when it ends
    b + size + t  begin: the configuration is written; t if the caller lends its own terminal, else -;
        + letters     attached to these streams
    n             the container's namespaces      n, with descriptors of them (see namespaces.KINDS)
    v             it is on other networks now   v + text    heard; or why something can't follow
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime.container.relay import READ_BYTES
from unionfs.linux import descriptors, sockets

ATTACH, INPUT, SIZE, SIGNAL, UNREAD, DETACH, STOP, NAMESPACES = b"a", b"i", b"w", b"k", b"c", b"d", b"s", b"n"
NETWORKS, BEGIN = b"v", b"b"
OUTPUT, ERROR, RUNS, FAILED, EXITED = b"o", b"e", b"r", b"f", b"x"

MOST_BYTES = READ_BYTES + 1
_NAME = "control"
_SIZE = struct.Struct("HH")
_LENT, _KEPT = b"t", b"-"


def listen(run_directory: str) -> int:
    """The listening socket of the container whose run directory this is. Raises OSError."""
    with _short(run_directory) as directory:
        with suppress(FileNotFoundError):
            os.unlink(f"{directory}/{_NAME}")  # of a monitor that was killed
        return sockets.listen(os.fsencode(f"{directory}/{_NAME}"))


def accept(listener: int) -> int:
    """The next who connects."""
    import socket

    with socket.socket(fileno=os.dup(listener)) as waiting:
        return waiting.accept()[0].detach()


def connect(run_directory: str) -> int:
    """A connection to the monitor. Raises OSError: it doesn't run."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection, _short(run_directory) as directory:
        connection.connect(f"{directory}/{_NAME}")
        return connection.detach()


def pair() -> tuple[int, int]:
    """A connection whose both ends are at hand: the command's and the monitor's."""
    return sockets.packet_pair()


def send_namespaces(connection: int, namespaces: list[int]) -> None:
    """Answer NAMESPACES. One who is behind with reading gets no answer."""
    import socket

    with socket.socket(fileno=os.dup(connection)) as answer, suppress(OSError):
        socket.send_fds(answer, [NAMESPACES], namespaces)


def ask_namespaces(run_directory: str) -> list[int]:
    """What the monitor answers to NAMESPACES; nothing if it is gone."""
    import socket

    with suppress(OSError), socket.socket(fileno=connect(run_directory)) as connection:
        connection.send(NAMESPACES)
        while True:
            message, fds = descriptors.receive(connection, MOST_BYTES, 16)
            if message in (NAMESPACES, b""):
                return fds
    return []


def ask_signal(run_directory: str, number: int) -> None:
    """Have the monitor send the command a signal. Nothing happens if it is gone."""
    with suppress(OSError):
        connection = connect(run_directory)
        os.write(connection, SIGNAL + bytes((number,)))
        os.close(connection)


def ask_networks(run_directory: str) -> str:
    """What the monitor answers to NETWORKS; nothing, too, if it is gone."""
    with suppress(OSError):
        connection = connect(run_directory)
        try:
            os.write(connection, NETWORKS)
            while message := hear(connection):
                if message.startswith(NETWORKS):
                    return message[1:].decode(errors="replace")
        finally:
            os.close(connection)
    return ""


def hear(connection: int) -> bytes:
    """The next message from the monitor; nothing when it is gone."""
    try:
        return os.read(connection, MOST_BYTES)
    except ConnectionResetError:  # it ended before it heard of us
        return b""


def pack_size(size: tuple[int, int]) -> bytes:
    """Rows and columns, as a message carries them."""
    return _SIZE.pack(*size)


def unpack_size(data: bytes) -> tuple[int, int]:
    """The reverse. Raises ValueError."""
    if len(data) != _SIZE.size:
        raise ValueError("not the size of a terminal")
    rows, columns = _SIZE.unpack(data)
    return rows, columns


def pack_begin(size: tuple[int, int], lent: bool, streams: bytes) -> bytes:
    """The message BEGIN, for a container whose terminal is of that size, if it has one."""
    return BEGIN + pack_size(size) + (_LENT if lent else _KEPT) + streams


def unpack_begin(message: bytes) -> tuple[tuple[int, int], bool, bytes]:
    """The reverse."""
    end = 1 + _SIZE.size
    return unpack_size(message[1:end]), message[end : end + 1] == _LENT, message[end + 1 :]


def attach(connection: int, streams: bytes) -> None:
    """Attach to these streams. Whoever is gone is heard of later."""
    with suppress(OSError):
        os.write(connection, ATTACH + streams)


@contextmanager
def _short(directory: str) -> Iterator[str]:
    """A path of the directory that is short enough for a socket's address (108 bytes), as long as this is held."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
