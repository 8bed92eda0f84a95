"""Blobs by digest: `blobs/ALGORITHM/HEX`, as an OCI image layout has them, and the partial files they grow in.

A blob appears under its name only when it is whole, verified and on the disk. A partial file is held by a lock while
somebody writes it; one that nobody holds is what an interrupted attempt left, and the next goes on from there.
"""

import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import BinaryIO, Self

from runtime.image.digest import Digest, Verifier, of
from runtime.image.errors import Corrupt, Missing
from runtime.image.store.locks import open_locked

_CHUNK_BYTES = 1 << 20
_ALGORITHMS = ("sha256", "sha512")


class Blobs:
    """The blobs of one layout; `partial` is a directory on the same filesystem."""

    def __init__(self, directory: str, partial: str) -> None:
        self.directory = directory
        self.partial = partial

    def prepare(self) -> None:
        for path in (self.partial, *(f"{self.directory}/{algorithm}" for algorithm in _ALGORITHMS[:1])):
            os.makedirs(path, mode=0o700, exist_ok=True)

    def path(self, digest: Digest) -> str:
        return f"{self.directory}/{digest.algorithm}/{digest.hex}"

    def has(self, digest: Digest) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Raises Missing."""
        try:
            return os.stat(self.path(digest), follow_symlinks=False).st_size
        except FileNotFoundError:
            raise Missing(f"blob {digest} is not in the store") from None

    def open(self, digest: Digest) -> BinaryIO:
        """Raises Missing."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise Missing(f"blob {digest} is not in the store") from None

    def write(self, digest: Digest, size: int | None) -> "BlobWriter":
        return BlobWriter(self, digest, size)

    def put(self, data: bytes) -> Digest:
        digest = of(data)
        with self.write(digest, len(data)) as writer:
            writer.fill([data])
        return digest

    def all(self) -> Iterator[Digest]:
        for algorithm in _ALGORITHMS:
            try:
                names = os.listdir(f"{self.directory}/{algorithm}")
            except FileNotFoundError:
                continue
            yield from (Digest(algorithm, name) for name in names)

    def delete(self, digest: Digest) -> int:
        """The bytes that were freed."""
        size = self.size(digest)
        os.unlink(self.path(digest))
        return size

    def delete_partials(self) -> int:
        """Drop what interrupted attempts left, the bytes freed. Precondition: nobody is writing."""
        freed = 0
        for name in os.listdir(self.partial):
            path = f"{self.partial}/{name}"
            freed += os.stat(path).st_size
            os.unlink(path)
        return freed


class BlobWriter:
    """One blob on its way in; a context manager. Leaving it without commit() keeps what came, to be resumed."""

    def __init__(self, blobs: Blobs, digest: Digest, size: int | None) -> None:
        self._blobs = blobs
        self._target = blobs.path(digest)
        self._draft = f"{blobs.partial}/{digest.algorithm}-{digest.hex}"
        self._digest = digest
        self._size = size
        self._verifier = Verifier(digest, size)
        self._fd = -1
        self.finished = False
        """It is in the store already."""

    def __enter__(self) -> Self:
        if not self._blobs.has(self._digest):
            self._fd = open_locked(self._draft)
        self.finished = self._blobs.has(self._digest)
        try:
            if self.finished:
                self._drop()
            else:
                self._resume()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def offset(self) -> int:
        """How many bytes are there."""
        return self._verifier.seen

    def fill(self, pieces: Iterable[bytes]) -> None:
        """Make it a blob of these pieces, which aren't asked for if it is one already. Raises Corrupt, OSError."""
        if self.finished:
            return
        self.restart()
        for piece in pieces:
            self.write(piece)
        self.commit()

    def write(self, data: bytes) -> None:
        """Raises Corrupt (more than promised), OSError."""
        try:
            self._verifier.update(data)
        except Corrupt:
            self.restart()
            raise
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def restart(self) -> None:
        """Forget what is there."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._verifier = Verifier(self._digest, self._size)

    def commit(self) -> None:
        """Make it a blob. Raises Corrupt: it isn't what was promised, and what came is dropped."""
        if self.finished:
            return
        try:
            self._verifier.finish()
        except Corrupt:
            self.restart()
            raise
        os.fchmod(self._fd, 0o644)
        os.fsync(self._fd)
        os.makedirs(os.path.dirname(self._target), mode=0o755, exist_ok=True)
        os.rename(self._draft, self._target)
        self.finished = True

    def _resume(self) -> None:
        """Hash what an earlier attempt left; too much of it is of no use."""
        while data := os.read(self._fd, _CHUNK_BYTES):
            try:
                self._verifier.update(data)
            except Corrupt:
                self.restart()
                return

    def _drop(self) -> None:
        """Another process was quicker: our partial file is a new, empty one."""
        if self._fd >= 0:
            os.unlink(self._draft)
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
