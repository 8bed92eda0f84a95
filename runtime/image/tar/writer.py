"""A writer of tar archives: ustar, and PAX headers for what doesn't fit into it. Equal members give equal bytes."""

import struct
from collections.abc import Callable

from runtime.image.tar.members import FILE, Member

_BLOCK = 512
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_MOST_NAME, _MOST_PREFIX = 100, 155
_MOST_SIZE = 8**11 - 1
_MOST_ID = 8**7 - 1
_SECOND_NS = 10**9


class TarWriter:
    """Hands an archive to `write`, piece by piece."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._left = 0
        self._padding = 0

    def add(self, member: Member, data: bytes = b"") -> None:
        """Begin a member; the rest of its content follows by content(). A sparse one is written with its zeros."""
        assert not self._left, "the last member has not all of its content"
        name, prefix = _split(member.name)
        records = _records(member, whole_name=bool(prefix) or len(member.name) <= _MOST_NAME)
        if records:
            body = b"".join(_record(key, value) for key, value in sorted(records.items()))
            header = Member(b"x", b"PaxHeaders/" + member.name[-80:], 0o644, 0, 0, 0, 0, 0, b"", (0, 0), {}, None)
            self._write(_header(header, header.name, b"", len(body)) + body + bytes(-len(body) % _BLOCK))
        size = member.size if member.kind == FILE else 0
        self._write(_header(member, name, prefix, size))
        self._left, self._padding = size, -size % _BLOCK
        if size:
            self.content(data)

    def content(self, data: bytes | memoryview) -> None:
        """The next bytes of the last member."""
        self._left -= len(data)
        assert self._left >= 0, "more content than the member has"
        if data:
            self._write(bytes(data))
        if not self._left and self._padding:
            self._write(bytes(self._padding))
            self._padding = 0

    def close(self) -> None:
        """Write the end of the archive."""
        self._write(bytes(2 * _BLOCK))


def plain_file(name: str, size: int) -> Member:
    """A member that is a file of no interest but for its content."""
    return Member(FILE, name.encode(), 0o644, 0, 0, size, 0, 0, b"", (0, 0), {}, None)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Name and prefix as ustar has them; the prefix is empty if it doesn't help."""
    if len(name) <= _MOST_NAME:
        return name, b""
    slash = name.find(b"/", len(name) - _MOST_NAME - 1, len(name) - 1)
    if 0 < slash <= _MOST_PREFIX:
        return name[slash + 1 :], name[:slash]
    return name[:_MOST_NAME], b""


def _records(member: Member, *, whole_name: bool) -> dict[bytes, bytes]:
    records = {b"SCHILY.xattr." + key: value for key, value in member.xattrs.items()}
    if not whole_name:
        records[b"path"] = member.name
    if len(member.target) > _MOST_NAME:
        records[b"linkpath"] = member.target
    if member.kind == FILE and member.size > _MOST_SIZE:
        records[b"size"] = b"%d" % member.size
    for key, number in ((b"uid", member.uid), (b"gid", member.gid)):
        if number > _MOST_ID:
            records[key] = b"%d" % number
    if member.mtime_ns % _SECOND_NS or not 0 <= member.mtime_ns // _SECOND_NS <= _MOST_SIZE:
        records[b"mtime"] = _time(member.mtime_ns)
    return records


def _time(time_ns: int) -> bytes:
    seconds, nanoseconds = divmod(abs(time_ns), _SECOND_NS)
    fraction = b".%09d" % nanoseconds if nanoseconds else b""
    return (b"-" if time_ns < 0 else b"") + b"%d" % seconds + fraction.rstrip(b"0")


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`; the length counts its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    length = len(body) + len(str(length))
    return b"%d" % length + body


def _header(member: Member, name: bytes, prefix: bytes, size: int) -> bytes:
    seconds = member.mtime_ns // _SECOND_NS
    header = bytearray(_HEADER.pack(
        name, b"%07o" % member.mode, _id(member.uid), _id(member.gid),
        b"%011o" % (size if size <= _MOST_SIZE else 0),
        b"%011o" % (seconds if 0 <= seconds <= _MOST_SIZE else 0),
        b" " * 8, member.kind, member.target[:_MOST_NAME], b"ustar\x0000", b"", b"",
        b"%07o" % member.device[0], b"%07o" % member.device[1], prefix,
    ))  # fmt: skip
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _id(number: int) -> bytes:
    return b"%07o" % (number if number <= _MOST_ID else 0)
