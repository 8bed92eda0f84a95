"""The lines of a file that others append to, also over its rotation to FILE.1."""

import os
import select
from collections.abc import Iterator

from runtime.container import control
from unionfs.linux import inotify

_READ_BYTES = 65536


def lines(path: str, ends: int = -1) -> Iterator[bytes]:
    """The file's lines, those that are there and those that come, until the other end of the connection `ends` is gone.

    A line that isn't complete is waited for.
    """
    directory = os.path.dirname(path)
    watch = inotify.watch(os.fsencode(directory))
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    if ends >= 0:
        poll.register(ends, select.POLLIN)
    file, partial, ended = -1, b"", False
    try:
        while True:
            if file < 0:
                file = _open(path)
            data = os.read(file, _READ_BYTES) if file >= 0 else b""
            if data:
                *whole, partial = (partial + data).split(b"\n")
                yield from whole
            elif file >= 0 and _is_replaced(file, path):
                os.close(file)
                file = -1
            elif ended:
                return
            else:
                ready = {fd for fd, _ in poll.poll()}
                inotify.clear(watch)
                ended = ends in ready and not control.hear(ends)
    finally:
        for fd in {watch, file} - {-1}:
            os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _is_replaced(file: int, path: str) -> bool:
    try:
        return os.fstat(file).st_ino != os.stat(path).st_ino
    except FileNotFoundError:
        return False
