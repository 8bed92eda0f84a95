"""Large reads, by threads that answer them: to copy a mebibyte twice takes 0.3 ms, and the kernel asks for several
when it reads ahead, so that other requests would wait for milliseconds.

Those of one file are read by one thread at a time, in the order in which they came: more of them would only keep
others from the processors, and a file that waits for its disk keeps no other waiting.
"""

import os
from collections import deque
from typing import NamedTuple, Protocol

from unionfs.fuse import transfer
from unionfs.fuse.direct.session import MAX_TRANSFER_BYTES
from unionfs.fuse.direct.workers import Workers
from unionfs.fuse.errors import errno_of

LARGE_BYTES = 128 << 10
"""From here on a read is large."""


class Sender(Protocol):
    """Where replies go; called in any thread."""

    def reply(self, unique: int, answer: memoryview, /) -> None: ...
    def refuse(self, unique: int, number: int, /) -> None: ...


class _Read(NamedTuple):
    unique: int
    fd: int
    offset: int
    size: int


class Bulk:
    """The large reads of one mount. `read` belongs to the thread that the workers belong to."""

    def __init__(self, sender: Sender, workers: Workers) -> None:
        self._sender = sender
        self._workers = workers
        self._waiting: dict[int, deque[_Read]] = {}
        """By open file: each with a thread that works on them."""
        self._buffers: list[memoryview] = []
        """Those that no thread uses. They are kept, as memory that is given back is had again page by page."""

    def read(self, unique: int, file: int, offset: int, size: int) -> bool:
        """Answer `unique` with up to `size` bytes of the open `file`, fewer at its end alone. False: it can't."""
        try:
            asked = _Read(unique, os.dup(file), offset, size)  # copy-up may put another file behind its number
        except OSError:  # EMFILE, ENFILE
            return False
        if file in self._waiting:
            self._waiting[file].append(asked)
        else:
            self._waiting[file] = deque([asked])
            self._begin(file)
        return True

    def _begin(self, file: int) -> None:
        reads = self._waiting[file]
        self._workers.submit(lambda: self._work(reads), lambda error: self._done(file))

    def _done(self, file: int) -> None:
        if self._waiting[file]:  # it came when the thread had just seen the last
            self._begin(file)
        else:
            del self._waiting[file]

    def _work(self, reads: deque[_Read]) -> None:
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = transfer.buffer(MAX_TRANSFER_BYTES)
        while reads:
            self._answer(reads.popleft(), buffer)
        self._buffers.append(buffer)

    def _answer(self, asked: _Read, buffer: memoryview) -> None:
        try:
            count = os.preadv(asked.fd, [buffer[: asked.size]], asked.offset)
        except OSError as error:
            self._sender.refuse(asked.unique, errno_of(error))
        else:
            self._sender.reply(asked.unique, buffer[:count])
        finally:
            os.close(asked.fd)
