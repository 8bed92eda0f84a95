"""Tar archives that a build unpacks: those of ADD, and a context from standard input.

What unpacks them is what unpacks layers of strangers, so that no member leaves its directory. But these are no layers:
one that deletes something is refused.
"""

import bz2
import lzma
import os
from collections.abc import Iterator
from typing import BinaryIO

from runtime.build.errors import BuildError
from runtime.image.errors import Corrupt
from runtime.image.tar.limits import DEFAULT_LIMITS
from runtime.image.tar.reader import TarReader
from runtime.image.tar.streams import expand, sniff
from runtime.image.tar.unpack import unpack
from runtime.image.tar.unpacked import Unpacked

_CHUNK_BYTES = 1 << 20
_BZIP2, _XZ = b"BZh", b"\xfd7zXZ\0"


def is_archive(file: BinaryIO) -> bool:
    """Whether `file` (seekable, at its beginning) is a tar archive, compressed or not; it is at its beginning again."""
    pieces = _pieces(file)
    try:
        return next(iter(TarReader(lambda: next(pieces, b""))), None) is not None
    except Corrupt:
        return False
    finally:
        file.seek(0)


def unpack_into(file: BinaryIO, directory: str, name: str) -> Unpacked:
    """Unpack the archive `file`, called `name`, into an empty directory. Raises BuildError, Corrupt."""
    pieces = _pieces(file)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unpacked = unpack(lambda: next(pieces, b""), root)
    finally:
        os.close(root)
    if unpacked.whiteouts:
        raise BuildError(f"{name}: it has names that begin with .wh., which mean deletions in a layer")
    if unpacked.links:
        link, target = map(os.fsdecode, unpacked.links[0])
        raise BuildError(f"{name}: {link} is a hard link to {target}, which isn't in the archive")
    return unpacked


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    beginning = file.read(len(_XZ))
    file.seek(0)
    if beginning.startswith((_BZIP2, _XZ)):
        return _more(file, beginning)
    return expand(file, sniff(beginning), DEFAULT_LIMITS)


def _more(file: BinaryIO, beginning: bytes) -> Iterator[bytes]:
    """Of the compressions that layers can't have."""
    unpacked = 0
    with bz2.open(file) if beginning.startswith(_BZIP2) else lzma.open(file) as stream:
        while True:
            try:
                piece = stream.read(_CHUNK_BYTES)
            except (OSError, EOFError, lzma.LZMAError) as error:
                raise Corrupt(f"archive: {error}") from None
            if not piece:
                return
            unpacked += len(piece)
            DEFAULT_LIMITS.check(file.tell(), unpacked)
            yield piece
