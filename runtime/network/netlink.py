"""Netlink as this house needs it: one request, its answers, and the kernel's errors as OSError.

Own code, because it is on the way to a container's first instruction: pyroute2 takes 140 ms to import (asyncio, ssl
and 370 modules), this takes one, and what is needed is a dozen messages. Format: netlink(7), rtnetlink(7).
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping

# include/uapi/linux/netlink.h
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ANSWER_BYTES = 1 << 18

Value = bytes | str | int | Mapping[int, "Value"]
"""Of an attribute: bytes as they are, text with a zero behind it, a number as 32 bits, or attributes in it."""


class Netlink:
    """A socket to the kernel, in the network namespace it was made in. To be closed, by `with`."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, kind: int, flags: int, fixed: bytes, attributes: Mapping[int, Value], about: str = "") -> None:
        """Ask for something to be done. Raises OSError with `about` as its file name."""
        for _ in self._ask(kind, flags | NLM_F_ACK, fixed, attributes, about):
            pass

    def dump(self, kind: int, fixed: bytes, attributes: Mapping[int, Value] = {}) -> list[bytes]:
        """All objects of a kind: what follows the header in each message."""
        return list(self._ask(kind, NLM_F_DUMP, fixed, attributes, ""))

    def get(self, kind: int, fixed: bytes, attributes: Mapping[int, Value], about: str) -> bytes:
        """The one object asked for. Raises OSError with `about` as its file name."""
        return next(iter(list(self._ask(kind, NLM_F_ACK, fixed, attributes, about))))

    def _ask(
        self, kind: int, flags: int, fixed: bytes, attributes: Mapping[int, Value], about: str
    ) -> Iterator[bytes]:
        self._sequence += 1
        body = fixed + pack(attributes)
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, flags | NLM_F_REQUEST, self._sequence, 0) + body)
        while True:
            for kind, sequence, body in _messages(self._socket.recv(_ANSWER_BYTES)):
                if sequence != self._sequence:
                    continue
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    _raise(-int.from_bytes(body[:4], "little", signed=True), about)
                    return
                yield body


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    while data:
        length, kind, _, sequence, _ = _HEADER.unpack_from(data)
        yield kind, sequence, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _raise(errno: int, about: str) -> None:
    if errno:
        raise OSError(errno, os.strerror(errno), about or None)


def pack(attributes: Mapping[int, Value]) -> bytes:
    """Attributes as the kernel reads them."""
    return b"".join(_pack_one(kind, value) for kind, value in attributes.items())


def _pack_one(kind: int, value: Value) -> bytes:
    if isinstance(value, Mapping):
        kind, value = kind | NESTED, pack(value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    elif isinstance(value, int):
        value = struct.pack("=I", value)
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def unpack(data: bytes) -> dict[int, bytes]:
    """The reverse of pack(), one level deep; of attributes that are there twice, the last."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        found[kind & ~NESTED] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
