"""The files of an image outside the store, by name: in a directory, or in a tar file that is only looked through."""

import errno
import os
import posixpath
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

from runtime.image.digest import Source
from runtime.image.errors import Corrupt, ImageError, Missing
from runtime.image.media import MOST_DOCUMENT_BYTES
from runtime.image.tar.limits import DEFAULT_LIMITS
from runtime.image.tar.members import FILE, LINK, SYMLINK
from runtime.image.tar.names import place_of
from runtime.image.tar.reader import TarReader
from runtime.image.tar.streams import expand, sniff
from unionfs.linux.fsops import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_CHUNK_BYTES = 1 << 20
_MAGIC_BYTES = 4
_MOST_LINKS = 8


class Files(Protocol):
    """Read-only files by relative name."""

    def has(self, name: str) -> bool: ...

    def open(self, name: str) -> "Section":
        """Raises Missing, Corrupt."""
        ...


class Section:
    """A part of an open file, read from its beginning; a context manager. Others read the same file meanwhile."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.size = size
        self._fd = fd
        self._offset = offset
        self._end = offset + size

    def __enter__(self) -> "Section":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def beginning(self) -> bytes:
        """The first bytes, wherever the reader is; nothing is read by this."""
        return os.pread(self._fd, min(_MAGIC_BYTES, self.size), self._end - self.size)

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._fd, min(size, self._end - self._offset), self._offset)
        self._offset += len(data)
        return data


def read_document(files: Files, name: str) -> bytes:
    """A small file. Raises Missing, Corrupt."""
    with files.open(name) as section:
        if section.size > MOST_DOCUMENT_BYTES:
            raise Corrupt(f"{name}: {section.size} bytes are too many for a document")
        return section.read(section.size)


class DirectoryFiles:
    """Below a directory, never through a symlink."""

    def __init__(self, root: int) -> None:
        self._root = root

    def has(self, name: str) -> bool:
        try:
            self.open(name).__exit__()
        except Missing:
            return False
        return True

    def open(self, name: str) -> Section:
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
            fd = openat2(self._root, os.fsencode(name), flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise Missing(f"{name}: not there") from None
            raise Corrupt(f"{name}: {error.strerror}") from None
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode):
            os.close(fd)
            raise Corrupt(f"{name}: not a regular file")
        return Section(fd, 0, st.st_size)


class TarFiles:
    """In a tar file that can be read anywhere. Links lead to other members, as old docker-archives have them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sections: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        file = Section(os.dup(fd), 0, os.fstat(fd).st_size)
        with file:
            archive = TarReader(lambda: file.read(_CHUNK_BYTES))
            for count, member in enumerate(archive):
                DEFAULT_LIMITS.check_members(count)
                name = os.fsdecode(place_of(member.name).path)
                if member.kind == FILE and member.sparse is None:
                    self._sections[name] = archive.offset, member.size
                elif member.kind == LINK:
                    self._links[name] = os.fsdecode(place_of(member.target).path)
                elif member.kind == SYMLINK:
                    target = posixpath.join(posixpath.dirname(name), os.fsdecode(member.target))
                    self._links[name] = posixpath.normpath(target)

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def open(self, name: str) -> Section:
        found = self._find(name)
        if found is None:
            raise Missing(f"{name}: not in the archive")
        return Section(os.dup(self._fd), *found)

    def _find(self, name: str) -> tuple[int, int] | None:
        name = posixpath.normpath(name)
        for _ in range(_MOST_LINKS):
            if name in self._sections:
                return self._sections[name]
            name = self._links.get(name, "")
        return None


@contextmanager
def open_files(path: str, scratch: str) -> Iterator[Files]:
    """What is at `path`: a directory, a tar file, compressed or not, or for "-" one that comes from standard input.

    What can't be read anywhere as it is, is kept in the directory `scratch` meanwhile, without a name.
    """
    if path != "-" and os.path.isdir(path):
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield DirectoryFiles(root)
        finally:
            os.close(root)
        return
    with open_input(path) as file, _seekable(file, scratch) as seekable:
        yield TarFiles(seekable.fileno())


def open_input(path: str) -> BinaryIO:
    """A file, or for "-" standard input. Raises ImageError: nobody types archives."""
    if path == "-":
        if os.isatty(0):
            raise ImageError("standard input is a terminal: name a file, or redirect it")
        return open(0, "rb", buffering=0, closefd=False)
    return open(path, "rb", buffering=0)


@contextmanager
def _seekable(file: BinaryIO, scratch: str) -> Iterator[BinaryIO]:
    beginning, source = _peek(file)
    compression = sniff(beginning)
    if not compression and stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not file.tell():
        yield file
        return
    with tempfile.TemporaryFile(dir=scratch) as copy:
        for piece in expand(source, compression, DEFAULT_LIMITS):
            copy.write(piece)
        copy.flush()
        yield copy


def _peek(file: BinaryIO) -> tuple[bytes, Source]:
    """The first bytes of `file`, and all of it from the beginning."""
    if file.seekable():
        beginning = file.read(_MAGIC_BYTES)
        file.seek(-len(beginning), os.SEEK_CUR)
        return beginning, file
    beginning = b""
    while len(beginning) < _MAGIC_BYTES and (more := file.read(_MAGIC_BYTES - len(beginning))):
        beginning += more
    return beginning, _Rejoined(beginning, file)


class _Rejoined:
    """What was read of a pipe already, then the rest."""

    def __init__(self, beginning: bytes, rest: Source) -> None:
        self._beginning = beginning
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if self._beginning:
            data, self._beginning = self._beginning[:size], self._beginning[size:]
            return data
        return self._rest.read(size)
