"""Where a container's streams meet: what the command writes goes to its log and to all who are attached, and what
those type goes to the command.

Nothing is lost and little is held: the command's output isn't read while one of the attached is behind, so who is
slow slows the command down, as a pipe would.
"""

import errno
import os
import select
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.container import control
from runtime.container.relay import READ_BYTES, WRITE_BYTES, Loop

if TYPE_CHECKING:
    from runtime.container.logfile import Log

_END_OF_FILE = b"\x04"  # what a terminal in its usual mode takes for it
_NOTHING = (-1, 0)


class Client:
    """One connection to the monitor."""

    def __init__(
        self, fd: int, hear: Callable[["Client", bytes], None], wait: Callable[[], bool], *, owner: bool = False
    ) -> None:
        self.fd = fd
        self.owner = owner
        """Whether the container ends when this one leaves."""
        self.streams = b""
        self.ended = False
        self._hear = hear
        self._wait = wait
        """Whether what it has to say must wait."""
        self._waiting: deque[bytes] = deque()
        os.set_blocking(fd, False)

    @property
    def behind(self) -> bool:
        """Whether it has yet to take what it was sent."""
        return bool(self._waiting)

    def send(self, letter: bytes, data: bytes = b"") -> None:
        """Send a message, now or when the other side has room."""
        if not self.ended:
            self._waiting.append(letter + data)
            self._flush()

    def wants(self) -> tuple[int, int]:
        return self.fd, (0 if self._wait() else select.POLLIN) | (select.POLLOUT if self._waiting else 0)

    def step(self, events: int) -> None:
        if events & select.POLLOUT:
            self._flush()
        if events & ~select.POLLOUT and not self.ended:
            self._receive()

    def close(self) -> None:
        """Leave it."""
        if not self.ended:
            self.ended = True
            os.close(self.fd)

    def _flush(self) -> None:
        try:
            while self._waiting:
                os.write(self.fd, self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()  # it has left, which is heard of soon

    def _receive(self) -> None:
        try:
            message = os.read(self.fd, control.MOST_BYTES)
        except (BlockingIOError, ConnectionResetError):
            return  # reset: it left without having read all of ours; said once, before what it said last
        except OSError:
            message = b""
        if not message:
            self.close()
        self._hear(self, message)


class _Source:
    """One stream of the command."""

    def __init__(self, hub: "Hub", fd: int, letter: bytes) -> None:
        self.letter = letter
        self.ended = False
        self._hub = hub
        self._fd = fd
        os.set_blocking(fd, False)  # our end alone

    def wants(self) -> tuple[int, int]:
        return (self._fd, select.POLLIN) if self._hub.listens and not self._hub.behind else _NOTHING

    def step(self, events: int) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # the last process of the terminal has closed it
                raise
            data = b""
        if data:
            self._hub.put(self.letter, data)
        else:
            self.close()

    def drain(self) -> None:
        """Take all there is without waiting, and close: whoever else holds the other end isn't of the container."""
        while not self.ended:
            try:
                data = os.read(self._fd, READ_BYTES)
            except OSError:
                data = b""
            if not data:
                self.close()
            else:
                self._hub.put(self.letter, data)

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            os.close(self._fd)


class _Sink:
    """The command's input."""

    def __init__(self, *, terminal: bool) -> None:
        self.ended = False
        self.terminal = terminal
        self._fd = -1
        self._waiting = b""
        self._closing = False

    @property
    def full(self) -> bool:
        """Whether the command has yet to take what it was sent."""
        return len(self._waiting) >= READ_BYTES

    def connect(self, fd: int) -> None:
        self._fd = fd
        if self._closing and not self._waiting:
            self.close()

    def put(self, data: bytes) -> None:
        if not self.ended and not self._closing:
            self._waiting += data

    def finish(self) -> None:
        """No more comes."""
        if self.terminal:
            self.put(_END_OF_FILE)
        else:
            self._closing = True
            if self._fd >= 0 and not self._waiting:
                self.close()

    def wants(self) -> tuple[int, int]:
        return (self._fd, select.POLLOUT) if self._waiting else _NOTHING

    def step(self, events: int) -> None:
        try:
            self._waiting = self._waiting[os.write(self._fd, self._waiting[:WRITE_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # EPIPE, EIO: nobody reads
            self._waiting = b""
            self._closing = True
        if self._closing and not self._waiting:
            self.close()

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            if self._fd >= 0 and not self.terminal:
                os.close(self._fd)


class Hub:
    """The streams of one run of a container."""

    def __init__(self, loop: Loop, clients: list[Client], log: "Log | None", *, terminal: bool) -> None:
        self._loop = loop
        self._clients = clients
        self._log = log
        self._sources: list[_Source] = []
        self._sink = _Sink(terminal=terminal)
        self.listens = False
        """Not before it is recorded that the command runs: who reads what it writes finds it running."""

    def connect(self, stdin: int, outputs: dict[bytes, int]) -> None:
        """Serve these descriptors, -1 where there is none; of a terminal, both are its master."""
        self._sink.connect(stdin)
        self._sources = [_Source(self, fd, letter) for letter, fd in outputs.items() if fd >= 0]
        self._loop.parties += [*self._sources, self._sink]

    @property
    def full(self) -> bool:
        """Whether the command has yet to take what was typed."""
        return self._sink.full

    @property
    def behind(self) -> bool:
        """Whether somebody attached has yet to take what was sent."""
        return any(client.behind for client in self._clients)

    def put(self, letter: bytes, data: bytes) -> None:
        """Pass on what the command wrote."""
        if self._log is not None:
            self._log.write(letter, data)
        for client in self._clients:
            if letter in client.streams:
                client.send(letter, data)

    def type(self, data: bytes, *, last: bool) -> None:
        """Pass on what somebody typed: nothing means that no more comes, from the one that it may come from."""
        if data:
            self._sink.put(data)
        elif last:
            self._sink.finish()

    def forget(self, letter: bytes) -> None:
        """Let the command know, as a pipe would, that nobody reads one of its streams."""
        for source in self._sources:
            if source.letter == letter and not self._sink.terminal:
                source.close()

    def end(self) -> None:
        """Take in what is left, when the command has ended."""
        for source in self._sources:
            source.drain()
        self._sink.close()
        if self._log is not None:
            self._log.end()
