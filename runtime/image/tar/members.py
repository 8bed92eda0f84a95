"""What an archive says of one object, and the fields that tar writes it in."""

import base64
import binascii
import stat
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from runtime.image.errors import Corrupt
from runtime.image.tar.acl import from_text

FILE, LINK, SYMLINK, CHAR, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
KINDS = {
    stat.S_IFREG: FILE, stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK, stat.S_IFDIR: DIRECTORY,
    stat.S_IFIFO: FIFO,
}  # fmt: skip
"""What an object of that format (S_IFMT of its mode) is; a socket is nothing that an archive can hold."""
FORMATS = {kind: fmt for fmt, kind in KINDS.items()}

_XATTR = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."
_ACLS = {b"SCHILY.acl.access": b"system.posix_acl_access", b"SCHILY.acl.default": b"system.posix_acl_default"}
_SECOND_NS = 10**9
_MOST_S = 1 << 40


class Member(NamedTuple):
    """One object of an archive."""

    kind: bytes
    """FILE, LINK, SYMLINK, CHAR, BLOCK, DIRECTORY or FIFO."""
    name: bytes
    """As written: nothing is known of it yet."""
    mode: int
    """Permissions and set-id bits."""
    uid: int
    gid: int
    size: int
    """Of the file in the end; of a sparse one with its holes."""
    mtime_ns: int
    atime_ns: int
    target: bytes
    """Of links."""
    device: tuple[int, int]
    xattrs: dict[bytes, bytes]
    sparse: list[tuple[int, int]] | None
    """(offset, length) of what isn't a hole; None: there is no hole."""


Records = dict[bytes, bytes]


def octal(field: bytes) -> int:
    """A number as tar writes it: octal digits, or binary if the highest bit is set. Raises Corrupt."""
    if field[0] & 0x80:
        number = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return number - (1 << (8 * len(field) - 2)) * 2 if field[0] & 0x40 else number
    text = field.rstrip(b"\0 ").lstrip(b" ")
    cut = text.find(b"\0")
    text = text[:cut] if cut >= 0 else text
    if not text:
        return 0
    if not text.isdigit():
        raise Corrupt(f"archive: {field!r} is no number")
    try:
        return int(text, 8)
    except ValueError:
        raise Corrupt(f"archive: {field!r} is no number") from None


def decimal(text: bytes) -> int:
    """A number of a PAX record. Raises Corrupt."""
    if not text.isdigit() or len(text) > 20:
        raise Corrupt(f"archive: {text[:40]!r} is no number")
    return int(text)


def time_ns(text: bytes) -> int:
    """A time of a PAX record, exactly. Raises Corrupt."""
    negative = text.startswith(b"-")
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    seconds = decimal(whole or b"0")
    if seconds > _MOST_S or (fraction and not fraction.isdigit()):
        raise Corrupt(f"archive: {text[:40]!r} is no time")
    result = seconds * _SECOND_NS + int(fraction[:9].ljust(9, b"0"))
    return -result if negative else result


def parse_records(data: bytes) -> Records:
    """Records of a PAX header. Of the oldest sparse format, whose keys repeat, the map is made. Raises Corrupt."""
    records: Records = {}
    pieces: list[bytes] = []
    rest = 0
    while rest < len(data):
        space = data.find(b" ", rest, rest + 20)
        length = decimal(data[rest:space]) if space > 0 else 0
        end = rest + length
        if length < 5 or end > len(data) or data[end - 1 : end] != b"\n":
            raise Corrupt("archive: a PAX record isn't one")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not key or not equals:
            raise Corrupt("archive: a PAX record isn't one")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pieces.append(value)
        records[key] = value
        rest = end
    if pieces:
        records[b"GNU.sparse.map"] = b",".join(pieces)
    return records


def xattrs_of(records: Records) -> dict[bytes, bytes]:
    """The extended attributes among PAX records. Raises Corrupt."""
    found = {}
    for key, value in records.items():
        if key.startswith(_XATTR):
            found[key[len(_XATTR) :]] = value
        elif key.startswith(_LIBARCHIVE):
            found.setdefault(unquote_to_bytes(key[len(_LIBARCHIVE) :]), _base64(value))
        elif key in _ACLS and (acl := from_text(value)) is not None:
            found.setdefault(_ACLS[key], acl)
    if any(not key or b"\0" in key for key in found):
        raise Corrupt("archive: an extended attribute without a name")
    return found


def _base64(value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        raise Corrupt("archive: an extended attribute isn't base64") from None
