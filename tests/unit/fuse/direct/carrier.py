"""The direct binding without a kernel: requests made by hand over a union in this process, replies kept."""

import select
import struct
from collections.abc import Sequence

from unionfs import Union
from unionfs.core.model import Caller
from unionfs.fuse.direct import device, protocol
from unionfs.fuse.direct.dispatch import Dispatcher
from unionfs.fuse.direct.mount import Mount
from unionfs.fuse.direct.passthrough import Passthrough
from unionfs.fuse.direct.protocol import Init, Opcode
from unionfs.fuse.direct.session import Session
from unionfs.fuse.direct.workers import Workers

ROOT = Caller(0, 0)
EVERYTHING = Init((1 << 64) - 1)


class Carrier:
    """Takes the place of /dev/fuse and its loop."""

    def __init__(self, union: Union, features: Init = EVERYTHING) -> None:
        self.union = union
        self.replies: dict[int, bytes | int] = {}
        """By number of the request: what stands behind out_header, or the errno."""
        self.dropped: list[int | tuple[int, bytes]] = []
        """Attributes and names that the kernel is to ask for again."""
        self.stored: dict[int, bytes] = {}
        """Content that the kernel was given, by nodeid."""
        passthrough = Passthrough(-1, enabled=False, shared=False)
        self.mount = Mount(union, Session(protocol.MINOR, features), passthrough, self.store, 1.5)
        self.workers = Workers(limit=2)
        self.dispatcher = Dispatcher(self.mount, self, self.workers)
        self._unique = 0

    # What the dispatcher calls

    def reply(self, unique: int, answer: bytes | bytearray | memoryview) -> None:
        assert unique not in self.replies, "answered twice"
        self.replies[unique] = bytes(answer)

    def refuse(self, unique: int, number: int) -> None:
        assert unique not in self.replies, "answered twice"
        self.replies[unique] = number

    def drop_attributes(self, nodeid: int) -> None:
        self.dropped.append(nodeid)

    def drop_listing(self, nodeid: int) -> None:
        self.dropped.append(nodeid)

    def drop_name(self, nodeid: int, name: bytes) -> None:
        self.dropped.append((nodeid, name))

    def store(self, nodeid: int, content: memoryview) -> None:
        self.stored[nodeid] = bytes(content)

    # What tests call

    def send(self, opcode: int, body: bytes = b"", nodeid: int = protocol.ROOT_ID, caller: Caller = ROOT) -> int:
        """Have a request carried out as far as it goes at once; its number."""
        self._unique += 2
        size = protocol.IN_HEADER.size + len(body)
        header = protocol.IN_HEADER.pack(size, opcode, self._unique, nodeid, caller.uid, caller.gid, caller.pid)
        request = device.parse(memoryview(bytearray(header + body)))
        assert request is not None
        self.dispatcher.handle(request)
        return self._unique

    def settle(self) -> None:
        """Wait until nothing is under way in a thread."""
        while self.workers.busy:
            assert select.select([self.workers.fd], [], [], 20)[0], "a thread hangs"
            self.workers.collect()

    def ask(self, opcode: Opcode, body: bytes = b"", nodeid: int = protocol.ROOT_ID, caller: Caller = ROOT) -> bytes:
        """The answer to a request. Raises OSError."""
        unique = self.send(opcode, body, nodeid, caller)
        self.settle()
        answer = self.replies.pop(unique)
        if isinstance(answer, int):
            raise OSError(answer, "refused")
        return answer

    def look_up(self, name: bytes, nodeid: int = protocol.ROOT_ID) -> int:
        """The nodeid of a name; 0 if it is absent."""
        (found,) = struct.unpack_from("=Q", self.ask(Opcode.LOOKUP, name + b"\0", nodeid))
        return int(found)

    def open(self, nodeid: int, flags: int) -> int:
        """The handle of a file."""
        return int(protocol.OPEN_OUT.unpack(self.ask(Opcode.OPEN, protocol.OPEN_IN.pack(flags, 0), nodeid))[0])

    def close(self) -> None:
        self.settle()
        self.workers.close()


def padded(layout: struct.Struct, values: Sequence[int]) -> bytes:
    """`values` in `layout`, as many bits of each as there is room for."""
    codes = [code for code in layout.format if code.isalpha() and code != "x"]
    widths = {"I": 32, "i": 31, "Q": 64, "q": 63, "H": 16}
    counts = _expand(layout.format)
    assert len(codes) <= len(counts)
    return layout.pack(*(value & ((1 << widths[code]) - 1) for code, value in zip(counts, values, strict=False)))


def _expand(text: str) -> list[str]:
    """The codes of a format without padding, repeated ones written out."""
    found: list[str] = []
    count = ""
    for character in text.lstrip("="):
        if character.isdigit():
            count += character
            continue
        if character != "x":
            found += [character] * int(count or 1)
        count = ""
    return found
