"""The name server of one container: names of those on its networks, and everything else from this machine's servers.

It listens inside the container (files.RESOLVER) but runs, and asks others, on this machine, so servers on this
machine's loopback do. It reads the records anew when they have changed, so no container has to be told when another
comes or goes. That is why it is a server and not lines in /etc/hosts: those would be rewritten in every container of
the network, through paths that the container controls, and programs that ask DNS alone don't see them.

A container that is only on internal networks gets no answers from outside: questions would leak out (CVE-2024-29018).
"""

import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

from runtime.network import members, message
from runtime.network.members import Endpoint, Member
from runtime.network.networks import Networks
from runtime.places import Places

_ANSWER_WITHIN_S = 5
_MOST_AT_ONCE = 100
_LARGEST = 65535
_PORT = 53
_VERSIONS = {message.A: 4, message.AAAA: 6}


class Directory:
    """The records as one container sees them, as of their last change."""

    def __init__(self, places: Places, identity: str) -> None:
        self._networks = Networks(places)
        self._places = places
        self._identity = identity
        self._read_ns = -1
        self._own = Member([])
        self._neighbours: list[Endpoint] = []

    def own(self) -> Member:
        """What the container itself has."""
        self._refresh()
        return self._own

    def neighbours(self) -> list[Endpoint]:
        """All endpoints on its networks, its own too."""
        self._refresh()
        return self._neighbours

    def _refresh(self) -> None:
        changed_ns = self._networks.changed_ns()
        if changed_ns == self._read_ns:
            return
        everyone = dict(members.everybody(self._places))
        self._own = everyone.get(self._identity, self._own)
        shared = {endpoint.network_id for endpoint in self._own.endpoints}
        ends = [endpoint for member in everyone.values() for endpoint in member.endpoints]
        self._neighbours = [endpoint for endpoint in ends if endpoint.network_id in shared]
        self._read_ns = changed_ns


class Resolver:
    """Answers queries. `send` and `ask` of the two transports differ only in how a message is carried."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def start(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Serve both sockets from now on, in threads of its own."""
        threading.Thread(target=self._serve_udp, args=(udp,), daemon=True).start()
        threading.Thread(target=self._serve_tcp, args=(tcp,), daemon=True).start()

    def _serve_udp(self, udp: socket.socket) -> None:
        while True:
            with suppress(OSError):
                query, client = udp.recvfrom(_LARGEST)
                self._in_thread(self._answer_udp, udp, query, client)

    def _serve_tcp(self, tcp: socket.socket) -> None:
        while True:
            with suppress(OSError):
                connection, _ = tcp.accept()
                connection.settimeout(_ANSWER_WITHIN_S)
                self._in_thread(self._answer_tcp, connection)

    def _in_thread(self, function: Callable[..., None], *arguments: object) -> None:
        self._room.acquire()

        def work() -> None:
            try:
                with suppress(OSError):
                    function(*arguments)
            finally:
                self._room.release()

        threading.Thread(target=work, daemon=True).start()

    def _answer_udp(self, udp: socket.socket, query: bytes, client: tuple[str, int]) -> None:
        reply = self._reply(query, _ask_udp)
        if reply:
            udp.sendto(reply, client)

    def _answer_tcp(self, connection: socket.socket) -> None:
        with connection:
            while query := _receive(connection):
                reply = self._reply(query, _ask_tcp)
                connection.sendall(len(reply).to_bytes(2, "big") + reply)

    def _reply(self, query: bytes, ask: Callable[[str, bytes], bytes]) -> bytes:
        question = message.parse(query)
        if question is None:
            return b""
        records = self._known(question) if question.standard else None
        if records is not None:
            return message.answer(question, message.NO_ERROR, records)
        own = self._directory.own()
        if not any(endpoint.gateways for endpoint in own.endpoints):
            return message.answer(question, message.REFUSED)
        for server in own.servers:
            with suppress(OSError):
                return ask(server, query)
        return message.answer(question, message.SERVER_FAILURE)

    def _known(self, question: message.Question) -> list[bytes] | None:
        """The answer, if the name is one of ours: empty if it has none of that kind; None if it isn't."""
        neighbours = self._directory.neighbours()
        if question.kind == message.PTR:
            return self._names_at(question.name, neighbours)
        ends = [end for end in neighbours if question.name in _names(end)]
        if not ends:
            return None
        version = _VERSIONS.get(question.kind, 0)
        addresses = [address for end in ends if (address := end.address(version))]
        random.shuffle(addresses)  # several with one alias share the work
        return [ip_address(address).packed for address in addresses]

    def _names_at(self, name: str, neighbours: list[Endpoint]) -> list[bytes] | None:
        for end in neighbours:
            for version in _VERSIONS.values():
                if (address := end.address(version)) and message.name_of_address(address) == name:
                    return [message.encode_name(f"{end.names[0]}.{end.network}")]
        return None


def _names(end: Endpoint) -> set[str]:
    """A container is found by each of its names, and by NAME.NETWORK."""
    names = {name.lower() for name in end.names}
    return names | {f"{name}.{end.network.lower()}" for name in names}


def _ask_udp(server: str, query: bytes) -> bytes:
    with _socket_to(server, socket.SOCK_DGRAM) as upstream:
        upstream.send(query)
        while True:
            reply = upstream.recv(_LARGEST)
            if reply[:2] == query[:2]:
                return reply


def _ask_tcp(server: str, query: bytes) -> bytes:
    with _socket_to(server, socket.SOCK_STREAM) as upstream:
        upstream.sendall(len(query).to_bytes(2, "big") + query)
        reply = _receive(upstream)
        if not reply:
            raise ConnectionError
        return reply


def _socket_to(server: str, kind: socket.SocketKind) -> socket.socket:
    upstream = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind)
    upstream.settimeout(_ANSWER_WITHIN_S)
    try:
        upstream.connect((server, _PORT))
    except OSError:
        upstream.close()
        raise
    return upstream


def _receive(connection: socket.socket) -> bytes:
    """The next message of a connection; nothing at its end."""
    length = int.from_bytes(_exactly(connection, 2), "big")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return data if len(data) == size else b""
