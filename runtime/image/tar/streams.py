"""The bytes of an archive as they come out of their compression, hashed on the way, made by a thread of their own.

zlib, zstd and hashlib let other threads run while they work, so that unpacking costs what the slower half of it does.
"""

import hashlib
import queue
import sys
import threading
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from runtime.image.digest import Digest, Source
from runtime.image.errors import Corrupt

_INPUT_BYTES = 1 << 18
_OUTPUT_BYTES = 1 << 20
_MOST_WAITING = 6
_GZIP = 31  # wbits of zlib: a gzip header, the largest window
_MAGIC_BYTES = 4
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zX": "xz"}


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, most: int, /) -> bytes: ...


class Expansion(Protocol):
    """Says when a stream grows beyond what is believed: raises Corrupt."""

    def check(self, packed: int, unpacked: int) -> None: ...


def sniff(beginning: bytes) -> str:
    """The compression of what begins so: gzip, zstd, bzip2, xz or nothing."""
    return next((name for magic, name in _MAGIC.items() if beginning.startswith(magic)), "")


def sniffed(file: BinaryIO) -> str:
    """The same of a file at its beginning, where it is afterwards, too."""
    compression = sniff(file.read(_MAGIC_BYTES))
    file.seek(0)
    return compression


def expand(source: Source, compression: str, expansion: Expansion | None = None) -> Iterator[bytes]:
    """Pieces of what `source` holds, at most 1 MiB each. Raises Corrupt: not so compressed, or cut off."""
    packed = unpacked = 0
    pieces = _plain(source) if not compression else _expanded(source, compression)
    for taken, piece in pieces:
        packed += taken
        unpacked += len(piece)
        if expansion is not None:
            expansion.check(packed, unpacked)
        if piece:
            yield piece


def _plain(source: Source) -> Iterator[tuple[int, bytes]]:
    while piece := source.read(_OUTPUT_BYTES):
        yield len(piece), piece


def _expanded(source: Source, compression: str) -> Iterator[tuple[int, bytes]]:
    """(bytes taken in, a piece) of one stream after the other, as both formats allow."""
    stream = _open(compression)
    fresh = True
    while data := source.read(_INPUT_BYTES):
        taken = len(data)
        while data := data.lstrip(b"\0") if fresh else data:  # padding is no stream
            fresh = False
            yield taken, _step(stream, compression, data)
            taken, data = 0, b""
            yield from _drain(stream, compression)
            if stream.eof:
                data = stream.unused_data
                stream = _open(compression)
                fresh = True
    if not fresh:
        raise Corrupt(f"a {compression} stream is cut off")


def _drain(stream: _Decompressor, compression: str) -> Iterator[tuple[int, bytes]]:
    """What one step left, because a piece has a limit."""
    while not stream.eof and (rest := _waiting(stream)) is not None:
        piece = _step(stream, compression, rest)
        if not piece and not rest:
            return
        yield 0, piece


def _waiting(stream: _Decompressor) -> bytes | None:
    tail: bytes | None = getattr(stream, "unconsumed_tail", None)
    if tail is not None:
        return tail or None
    return None if getattr(stream, "needs_input", True) else b""


def _step(stream: _Decompressor, compression: str, data: bytes) -> bytes:
    try:
        return stream.decompress(data, _OUTPUT_BYTES)
    except Exception as error:  # zlib.error, ZstdError, LZMAError, OSError: siblings of nothing
        raise Corrupt(f"not a {compression} stream: {error}") from None


def _open(compression: str) -> _Decompressor:
    if compression == "gzip":
        return zlib.decompressobj(_GZIP)
    if compression == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    if compression == "xz":
        import lzma

        return lzma.LZMADecompressor()
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdDecompressor
    else:
        from backports.zstd import ZstdDecompressor

    decompressor: _Decompressor = ZstdDecompressor()
    return decompressor


class Expanded:
    """A thread that expands `source`, hashes what comes out and hands it over. A context manager.

    read() gives one piece at a time, b"" at the end; errors of the thread come out of it.
    """

    def __init__(
        self, source: Source, compression: str, expansion: Expansion | None = None, *, algorithm: str = "sha256"
    ) -> None:
        self._pieces = expand(source, compression, expansion)
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_MOST_WAITING)
        self._hash = hashlib.new(algorithm)
        self._stopped = False
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="expand", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def read(self) -> bytes:
        """The next piece. Raises Corrupt, OSError."""
        if self._ended:
            return b""
        piece = self._queue.get()
        if isinstance(piece, BaseException):
            self._ended = True
            raise piece
        self._ended = not piece
        return piece

    def digest(self) -> Digest:
        """Of all that came out, the rest of it being read first."""
        while self.read():
            pass
        return Digest(self._hash.name, self._hash.hexdigest())

    def _work(self) -> None:
        try:
            for piece in self._pieces:
                self._hash.update(piece)
                self._queue.put(piece)
                if self._stopped:
                    return
            self._queue.put(b"")
        except BaseException as error:
            self._queue.put(error)
