"""A reader of tar archives: v7, ustar, PAX and GNU, with their long names and all their kinds of sparse files.

It trusts nothing: sizes are limited, checksums are checked, and what can't be understood is refused. What names mean is
the unpacker's to decide.
"""

import struct
from collections.abc import Callable, Iterator

from runtime.image.errors import Corrupt
from runtime.image.tar import members
from runtime.image.tar.members import DIRECTORY, FILE, Member, Records, decimal, octal

_BLOCK = 512
_MOST_HEADER_BYTES = 1 << 20
_MOST_SPARSE = 1 << 20
_MOST_SIZE = (1 << 63) - 1
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s")
_ZERO = bytes(_BLOCK)
_NO_ARCHIVE = "it is no tar archive"
_KINDS = {b"\0": FILE, b"7": FILE, b"S": FILE, **{kind: kind for kind in (b"0", b"1", b"2", b"3", b"4", b"5", b"6")}}
_SECOND_NS = 10**9


class TarReader:
    """Members one after the other; the content of the last one by data(), unless it isn't wanted.

    `read` gives the archive's next piece, of any size; b"" at its end. All methods raise Corrupt and what `read` does.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._piece = b""
        self._position = 0
        self._before = 0
        self._left = 0
        self._padding = 0
        self._defaults: Records = {}

    def __iter__(self) -> Iterator[Member]:
        records: Records = {}
        while (header := self._header()) is not None:
            fields = _FIELDS.unpack(header)
            kind = fields[7]
            if kind in (b"x", b"X"):
                records.update(members.parse_records(self._content(fields)))
            elif kind == b"g":
                self._defaults.update(members.parse_records(self._content(fields)))
            elif kind in (b"L", b"K"):
                key = b"path" if kind == b"L" else b"linkpath"
                records[key] = self._content(fields).rstrip(b"\0")
            elif kind == b"V":
                self._begin(octal(fields[4]))
            else:
                yield self._member(fields, header, {**self._defaults, **records} if self._defaults else records)
                records = {}
        if records:
            raise Corrupt("archive: it ends after the header of a member")

    @property
    def offset(self) -> int:
        """Where in the archive the reader is: after a member's header, where its content begins."""
        return self._before + self._position

    def data(self) -> Iterator[memoryview]:
        """The pieces of the content, of a sparse file without the holes."""
        while self._left:
            if self._position == len(self._piece):
                self._refill()
            size = min(self._left, len(self._piece) - self._position)
            view = memoryview(self._piece)[self._position : self._position + size]
            self._position += size
            self._left -= size
            yield view

    def small(self) -> memoryview | None:
        """All of the content if it is at hand in one piece, else None: then data() gives it."""
        end = self._position + self._left
        if end > len(self._piece):
            return None
        view = memoryview(self._piece)[self._position : end]
        self._position = end
        self._left = 0
        return view

    def _member(self, fields: tuple[bytes, ...], header: bytes, records: Records) -> Member:
        name, mode, uid, gid, size, mtime, _, kind, target, magic, _, _, _, major, minor, prefix, _ = fields
        if kind not in _KINDS:
            raise Corrupt(f"archive: a member of the unknown kind {kind!r}")
        name = _text(name)
        if magic == b"ustar\0" and prefix[0]:
            name = _text(prefix) + b"/" + name
        modified = octal(mtime) * _SECOND_NS
        if not records and kind != b"S":  # as most are
            kind = DIRECTORY if name.endswith(b"/") and _KINDS[kind] == FILE else _KINDS[kind]
            length = octal(size) if kind == FILE else 0  # links tell the size of what they lead to
            self._begin(length)
            return Member(
                kind, name, octal(mode) & 0o7777, octal(uid), octal(gid), length, modified, modified, _text(target),
                (octal(major), octal(minor)) if kind in b"34" else (0, 0), {}, None,
            )  # fmt: skip
        return self._extended(fields, header, records, name, modified)

    def _extended(
        self, fields: tuple[bytes, ...], header: bytes, records: Records, name: bytes, modified: int
    ) -> Member:
        """A member whose header other headers add to."""
        kind = fields[7]
        name = records.get(b"GNU.sparse.name") or records.get(b"path") or name
        kind = DIRECTORY if name.endswith(b"/") and _KINDS[kind] == FILE and kind != b"S" else kind
        length = decimal(records[b"size"]) if b"size" in records else octal(fields[4])
        self._begin(length if kind == b"S" or _KINDS[kind] == FILE else 0)
        sparse, size = self._sparse(kind, header, records)
        if b"mtime" in records:
            modified = members.time_ns(records[b"mtime"])
        uid = decimal(records[b"uid"]) if b"uid" in records else octal(fields[2])
        gid = decimal(records[b"gid"]) if b"gid" in records else octal(fields[3])
        return Member(
            _KINDS[kind], name, octal(fields[1]) & 0o7777, uid, gid, self._left if size is None else size,
            modified, members.time_ns(records[b"atime"]) if b"atime" in records else modified,
            records.get(b"linkpath") or _text(fields[8]),
            (octal(fields[13]), octal(fields[14])) if kind in b"34" else (0, 0),
            members.xattrs_of(records), sparse,
        )  # fmt: skip

    def _sparse(self, kind: bytes, header: bytes, records: Records) -> tuple[list[tuple[int, int]] | None, int | None]:
        """Where the data of a sparse file go, and its size."""
        if kind == b"S":
            numbers = self._old_gnu_map(header)
            size = octal(header[483:495])
        elif b"GNU.sparse.major" in records:
            if (records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")) != (b"1", b"0"):
                raise Corrupt("archive: a sparse file of an unknown format")
            numbers = self._map_in_content()
            size = decimal(records.get(b"GNU.sparse.realsize", b""))
        elif b"GNU.sparse.map" in records:
            numbers = [decimal(text) for text in records[b"GNU.sparse.map"].split(b",")]
            size = decimal(records.get(b"GNU.sparse.size", b""))
        else:
            return None, None
        return _checked_map(numbers, size, self._left), size

    def _old_gnu_map(self, header: bytes) -> list[int]:
        numbers: list[int] = []
        table, more = header[386:482], header[482]
        size = self._left
        while True:
            for start in range(0, len(table) - 23, 24):
                if table[start] or table[start + 12]:
                    numbers += (octal(table[start : start + 12]), octal(table[start + 12 : start + 24]))
            if not more:
                break
            if len(numbers) > 2 * _MOST_SPARSE:
                raise Corrupt("archive: a sparse file of too many pieces")
            block = self._take(_BLOCK)
            table, more = block[:504], block[504]
        self._left = size
        return numbers

    def _map_in_content(self) -> list[int]:
        """Format 1.0: decimal lines, filled up to a block."""
        numbers: list[int] = []
        text = b""
        wanted = 1
        while len(numbers) < wanted:
            if self._left < _BLOCK or wanted > 2 * _MOST_SPARSE:
                raise Corrupt("archive: the map of a sparse file isn't one")
            text += self._take(_BLOCK)
            self._left -= _BLOCK
            *lines, text = text.split(b"\n")
            numbers += [decimal(line) for line in lines]
            wanted = 1 + 2 * numbers[0] if numbers else 1
        return numbers[1:wanted]

    def _header(self) -> bytes | None:
        """The next header, or None at the end: a block of zeros, or no more blocks."""
        self._skip()
        if self._position == len(self._piece):
            self._next_piece()
            if not self._piece:
                return None
        header = self._take(_BLOCK)
        if header == _ZERO:
            return None
        if not _has_checksum(header):
            raise Corrupt("archive: a header's checksum is wrong" if self.offset > _BLOCK else _NO_ARCHIVE)
        return header

    def _content(self, fields: tuple[bytes, ...]) -> bytes:
        size = octal(fields[4])
        if not 0 <= size <= _MOST_HEADER_BYTES:
            raise Corrupt(f"archive: a header of {size} bytes")
        self._begin(size)
        return b"".join(self.data())

    def _begin(self, size: int) -> None:
        if not 0 <= size <= _MOST_SIZE:
            raise Corrupt(f"archive: a member of {size} bytes")
        self._left = size
        self._padding = -size % _BLOCK

    def _skip(self) -> None:
        """Go behind the content of the last member."""
        end = self._position + self._left + self._padding
        if end <= len(self._piece):
            self._position = end
            self._left = self._padding = 0
            return
        for _ in self.data():
            pass
        self._skip_padding()

    def _skip_padding(self) -> None:
        """Go behind what fills the last block; at the archive's very end some writers (umoci) leave it out."""
        while self._padding:
            if self._position == len(self._piece):
                self._next_piece()
                if not self._piece:
                    self._padding = 0
                    return
            size = min(self._padding, len(self._piece) - self._position)
            self._position += size
            self._padding -= size

    def _take(self, size: int) -> bytes:
        end = self._position + size
        if end <= len(self._piece):
            self._position, start = end, self._position
            return self._piece[start:end]
        parts = []
        while size:
            if self._position == len(self._piece):
                self._refill()
            part = self._piece[self._position : self._position + size]
            self._position += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _refill(self) -> None:
        self._next_piece()
        if not self._piece:
            raise Corrupt("archive: it is cut off" if self._before >= _BLOCK else _NO_ARCHIVE)

    def _next_piece(self) -> None:
        self._before += len(self._piece)
        self._piece, self._position = self._read(), 0


def _has_checksum(header: bytes) -> bool:
    """Whether a header tells its own sum, as even those of v7 do."""
    field = header[148:156]
    try:
        return octal(field) == sum(header) - sum(field) + 8 * ord(" ")
    except Corrupt:
        return False


def _text(field: bytes) -> bytes:
    """Up to the first NUL."""
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


def _checked_map(numbers: list[int], size: int, content: int) -> list[tuple[int, int]]:
    """Pairs in ascending order within the file, of as many bytes together as its content has. Raises Corrupt."""
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    end = total = 0
    for offset, length in pairs:
        if offset < end or length < 0:
            raise Corrupt("archive: the map of a sparse file isn't one")
        end = offset + length
        total += length
    if len(numbers) % 2 or end > size or size > _MOST_SIZE or total != content:
        raise Corrupt("archive: the map of a sparse file isn't one")
    return pairs
