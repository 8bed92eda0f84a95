"""Copying between a container and this machine: one process packs, another unpacks, and a pipe is all that is held.

Two, because what is in a running container's user namespace can be touched from within it alone: see roots.enter().
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, NoReturn

from runtime.container import copy
from runtime.errors import Refusal, describe

_CHUNK_BYTES = 1 << 18
_TOP = b"top"
_DIRECTORY, _OTHER = b"d", b"o"


class Target(NamedTuple):
    """Where to write: a directory opener, and what the source is called there (empty: its content goes there)."""

    opener: copy.Opener
    name: bytes


class Stream:
    """What is packed by another process."""

    def __init__(self, data: int, errors: int) -> None:
        self._data = data
        self._errors = errors
        self.is_directory = self._read(1) == _DIRECTORY
        """Whether the source is one."""

    def unpack(self, place: Target, owner: tuple[int, int] | None) -> None:
        """Make all of it; `owner`: of all that is made, None: as it is. Raises Refusal, Corrupt, OSError."""
        copy.unpack(lambda: self._read(_CHUNK_BYTES), place.opener, owner, (_TOP, place.name))

    def _read(self, most: int) -> bytes:
        """Nothing at the end. Raises Refusal: packing failed."""
        data = os.read(self._data, most)
        if not data and (text := os.read(self._errors, _CHUNK_BYTES)):
            raise Refusal(text.decode(errors="surrogateescape"), status=1)
        return data


@contextmanager
def packed(open_source: Callable[[], int]) -> Iterator[Stream]:
    """What `open_source()`, called in the process that packs, opens (O_PATH), with all below it. Raises Refusal."""
    reading, writing = os.pipe()
    errors, complaints = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _pack(open_source, writing, complaints)
    os.close(writing)
    os.close(complaints)
    try:
        yield Stream(reading, errors)
    finally:
        os.close(reading)
        os.close(errors)
        os.waitpid(child, 0)


def _pack(open_source: Callable[[], int], writing: int, complaints: int) -> NoReturn:
    try:
        with suppress(BrokenPipeError), open(writing, "wb") as file:
            source = open_source()
            file.write(_DIRECTORY if stat.S_ISDIR(os.fstat(source).st_mode) else _OTHER)
            file.flush()
            copy.pack(source, _TOP, file.write)
    except Exception as error:
        text = describe(error) if isinstance(error, OSError) else str(error)
        os.write(complaints, text.encode(errors="surrogateescape"))
    finally:
        os._exit(0)
