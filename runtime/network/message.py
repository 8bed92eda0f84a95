"""DNS messages, as far as a name server needs them that knows a few addresses: RFC 1035, section 4."""

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

A = 1
PTR = 12
AAAA = 28
_IN = 1
NO_ERROR = 0
SERVER_FAILURE = 2
REFUSED = 5
_RESPONSE = 0x8000
_OPCODE = 0x7800
_AUTHORITATIVE = 0x0400
_DESIRED = 0x0100  # recursion: repeated in the answer
_AVAILABLE = 0x0080
_HEADER = struct.Struct("!6H")
_LONGEST_LABEL = 63
_TTL_S = 0
"""Addresses may be others' as soon as a container ends: nobody is to keep them."""


class Question(NamedTuple):
    """What a query asks."""

    identity: int
    flags: int
    name: str
    """In lower case, without the dot at its end."""
    kind: int
    wire: bytes
    """The question as it came, to be repeated in the answer."""

    @property
    def standard(self) -> bool:
        """Whether it is an ordinary query."""
        return not self.flags & _OPCODE


def parse(data: bytes) -> Question | None:
    """Read a query; None if it is not one that can be answered."""
    if len(data) < _HEADER.size:
        return None
    identity, flags, count, *_ = _HEADER.unpack_from(data)
    if flags & _RESPONSE or count != 1:
        return None
    labels, place = [], _HEADER.size
    while place < len(data) and 0 < data[place] <= _LONGEST_LABEL:
        labels.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    if place + 5 > len(data) or data[place]:
        return None
    kind, group = struct.unpack_from("!HH", data, place + 1)
    name = b".".join(labels).decode("ascii", "replace").lower()
    return Question(identity, flags, name, kind, data[_HEADER.size : place + 5]) if group == _IN else None


def answer(question: Question, code: int, records: Sequence[bytes] = ()) -> bytes:
    """An answer with these records' data, all of the kind asked for; without an error it is from who must know."""
    own = _AUTHORITATIVE if code == NO_ERROR else 0
    flags = _RESPONSE | _AVAILABLE | own | question.flags & (_DESIRED | _OPCODE) | code
    body = b"".join(
        struct.pack("!HHHIH", 0xC00C, question.kind, _IN, _TTL_S, len(record)) + record for record in records
    )
    return _HEADER.pack(question.identity, flags, 1, len(records), 0, 0) + question.wire + body


def name_of_address(address: str) -> str:
    """The name under which the name of an address is asked for: 2.0.90.10.in-addr.arpa."""
    return ip_address(address).reverse_pointer


def encode_name(name: str) -> bytes:
    """A name as data of a record."""
    labels = [label.encode()[:_LONGEST_LABEL] for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
