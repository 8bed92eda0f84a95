"""A container's log in the form of Docker's json-file: a JSON object for each line that the command wrote.

    {"log":"text\\n","stream":"stdout","time":"2026-01-31T12:00:00.123456789Z"}

A line that isn't ended yet waits; one longer than 16 KiB is kept in pieces without "\\n". With a greatest size, a full
file becomes FILE.1, that one FILE.2, and so on, as many as are kept.
"""

import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_PIECE_BYTES = 16384
STREAMS = {b"o": "stdout", b"e": "stderr"}


class Record(NamedTuple):
    """One line."""

    text: str
    stream: str
    time: str
    """RFC 3339, in UTC, nine digits after the second."""


class Log:
    """The writing end, held by the monitor."""

    def __init__(self, path: str, most_bytes: int = 0, most_files: int = 1) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._partial = dict.fromkeys(STREAMS, b"")
        self._fd = _open(path)
        self._size = os.fstat(self._fd).st_size

    def write(self, letter: bytes, data: bytes) -> None:
        """Take in what came on the stream `letter`."""
        *lines, rest = (self._partial[letter] + data).split(b"\n")
        pieces = [line + b"\n" for line in lines]
        while len(rest) >= _PIECE_BYTES:
            pieces.append(rest[:_PIECE_BYTES])
            rest = rest[_PIECE_BYTES:]
        self._partial[letter] = rest
        self._put(letter, pieces)

    def end(self) -> None:
        """Write what has no end of line, and let the file go."""
        for letter, rest in self._partial.items():
            self._put(letter, [rest] if rest else [])
        os.close(self._fd)

    def _put(self, letter: bytes, pieces: list[bytes]) -> None:
        if not pieces:
            return
        tail = f',"stream":"{STREAMS[letter]}","time":"{timestamp(time.time_ns())}"}}\n'
        texts = [json.dumps(piece.decode(errors="replace"), ensure_ascii=False) for piece in pieces]
        data = "".join(f'{{"log":{text}{tail}' for text in texts).encode()
        with suppress(OSError):  # ENOSPC: the container goes on without its log
            if self._most_bytes and self._size and self._size + len(data) > self._most_bytes:
                self._rotate()
            self._size += os.write(self._fd, data)

    def _rotate(self) -> None:
        names = [self._path, *(f"{self._path}.{number}" for number in range(1, self._most_files))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            with suppress(FileNotFoundError):
                os.rename(newer, older)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        fd = _open(self._path)
        os.close(self._fd)
        self._fd, self._size = fd, 0


def timestamp(moment_ns: int) -> str:
    """A moment as RFC 3339 has it."""
    seconds, rest = divmod(moment_ns, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def parts(path: str) -> list[str]:
    """The files of the log at `path`, the oldest first."""
    number = 1
    found = [path] if os.path.exists(path) else []
    while os.path.exists(f"{path}.{number}"):
        found.insert(0, f"{path}.{number}")
        number += 1
    return found


def records(lines: Iterator[bytes]) -> Iterator[Record]:
    """What the lines of a file say. A line that the machine's crash cut off is left out."""
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            value = json.loads(line)
            yield Record(value["log"], value["stream"], value["time"])


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
