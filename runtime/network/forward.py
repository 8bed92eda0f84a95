"""Published ports carried by hand: for 127.0.0.1 and ::1 always, and for all addresses where the kernel has no rules.

Each connection has two threads that splice, so its bytes never come to Python; datagrams of a client have a socket of
their own towards the container until they are silent for a while. All of it ends with the helper process.
"""

import os
import resource
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_PIECE_BYTES = 1 << 16
_STACK_BYTES = 1 << 18
_CONNECT_WITHIN_S = 10
_SILENT_AFTER_S = 90
"""As long as Docker's proxy takes a client's datagrams for one conversation."""
_DESCRIPTORS_PER_CONNECTION = 6
_DESCRIPTORS_KEPT = 64
_MOST_CLIENTS = 1024

_Client = tuple[str, int]
Target = Callable[[int], tuple[str, int]]
"""Where the container is now: address and port, for a version of IP."""


def start(keeper: socket.socket, target: Target) -> None:
    """Carry what comes in at a reserved port, from now on and in threads of its own."""
    threading.stack_size(_STACK_BYTES)
    serve = _serve_tcp if keeper.type == socket.SOCK_STREAM else _serve_udp
    threading.Thread(target=serve, args=(keeper, target), daemon=True).start()


def raise_limit() -> int:
    """Have as many descriptors as this process may: how many connections they are enough for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return max(1, (most - _DESCRIPTORS_KEPT) // _DESCRIPTORS_PER_CONNECTION)


def _serve_tcp(keeper: socket.socket, target: Target) -> None:
    room = threading.BoundedSemaphore(raise_limit())
    while True:
        room.acquire()
        client, _ = keeper.accept()
        threading.Thread(target=_carry, args=(client, keeper.family, target, room), daemon=True).start()


def _carry(client: socket.socket, family: int, target: Target, room: threading.BoundedSemaphore) -> None:
    try:
        with client, socket.create_connection(target(family), _CONNECT_WITHIN_S) as server:
            server.settimeout(None)
            back = threading.Thread(target=_splice, args=(server, client), daemon=True)
            back.start()
            _splice(client, server)
            back.join()
    except OSError:
        pass  # nobody answers in the container: the client sees the connection close
    finally:
        room.release()


def _splice(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until they end, then say so on the other side."""
    reading, writing = os.pipe()
    try:
        while size := os.splice(source.fileno(), writing, _PIECE_BYTES):
            while size:
                size -= os.splice(reading, sink.fileno(), size)
    except OSError:
        _end(source, socket.SHUT_RD)  # the sink is gone: who writes is to know
    finally:
        _end(sink, socket.SHUT_WR)
        os.close(reading)
        os.close(writing)


def _end(end: socket.socket, how: int) -> None:
    with suppress(OSError):
        end.shutdown(how)


def _serve_udp(keeper: socket.socket, target: Target) -> None:
    clients: dict[_Client, socket.socket] = {}
    while True:
        with suppress(OSError):  # such as of an answer that couldn't be delivered
            data, client = keeper.recvfrom(_PIECE_BYTES)
            if client not in clients and len(clients) < _MOST_CLIENTS:
                clients[client] = _open_conversation(keeper, client, target, clients)
            if client in clients:
                clients[client].send(data)


def _open_conversation(
    keeper: socket.socket, client: _Client, target: Target, clients: dict[_Client, socket.socket]
) -> socket.socket:
    address = target(keeper.family)
    server = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    server.connect(address)
    server.settimeout(_SILENT_AFTER_S)
    threading.Thread(target=_answer, args=(server, keeper, client, clients), daemon=True).start()
    return server


def _answer(
    server: socket.socket, keeper: socket.socket, client: _Client, clients: dict[_Client, socket.socket]
) -> None:
    with server, suppress(OSError):  # at the latest when it was silent for too long
        while True:
            with suppress(ConnectionRefusedError):  # the container doesn't listen, yet
                keeper.sendto(server.recv(_PIECE_BYTES), client)
    clients.pop(client, None)
