"""Tar archives that a build unpacks: those of ADD, and a context from standard input.

What unpacks them is what unpacks layers of strangers, so that no member leaves its directory. But these are no layers:
one that deletes something is refused.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO

from runtime.build.errors import BuildError
from runtime.image.errors import Corrupt
from runtime.image.tar.limits import DEFAULT_LIMITS
from runtime.image.tar.reader import TarReader
from runtime.image.tar.streams import expand, sniffed
from runtime.image.tar.unpack import unpack
from runtime.image.tar.unpacked import Unpacked


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
    return expand(file, sniffed(file), DEFAULT_LIMITS)
