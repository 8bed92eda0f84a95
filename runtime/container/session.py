"""A command's side of a container's streams: standard streams, terminal, signals and exit status pass through here.

The command inside gets pipes, or a terminal of its own, never our descriptors: through /proc/self/fd a process inside
could open the file behind one again, for writing too, and what it does to a terminal's flags would outlive it.
"""

import errno
import os
import select
import signal
from collections import deque
from typing import NamedTuple

from runtime.container import console, control, signals
from runtime.container.caller import Wish
from runtime.container.relay import READ_BYTES, WRITE_BYTES, Loop
from runtime.errors import Refusal

_SIGNAL_BYTES = 4096


class Ended(NamedTuple):
    """How a session ended."""

    status: int | None
    """Exit status, or None: the container goes on."""
    failure: str
    """Why the command didn't run."""
    told: bool
    """Whether the monitor lived to say so."""


class Session:
    """One connection to the monitor, from here."""

    def __init__(self, connection: int, wish: Wish) -> None:
        self._connection = connection
        self._wish = wish
        self._loop = Loop()
        self._sinks = {control.OUTPUT: _Sink(self, 1, control.OUTPUT), control.ERROR: _Sink(self, 2, control.ERROR)}
        self._settings = console.settings(0) if wish.tty and wish.stdin else None
        self._keys = _Keys(wish.keys if wish.tty else b"")
        self._ended: Ended | None = None
        self._failure = ""
        self._began = False
        self.unsaid: deque[bytes] = deque()
        """What the monitor has yet to take."""
        os.set_blocking(connection, False)
        self._loop.parties += [_Ear(self, connection), *self._sinks.values()]
        if wish.stdin:
            self._loop.parties.append(_Keyboard(self))
        heard = (signals.PASSED_ON if wish.signals else set()) | ({signal.SIGWINCH} if wish.tty else set())
        if heard:
            caught = signals.catch(heard)
            self._loop.watch(caught, lambda: self._on_signals(os.read(caught, _SIGNAL_BYTES)))

    def run(self) -> Ended:
        """Serve until the container's end, or ours, and all output is out. Precondition: attached to what is wished."""
        try:
            while self._ended is None or self.busy or self.unsaid:
                self._loop.turn()
        finally:
            if self._settings is not None:
                console.restore(0, self._settings)
            os.close(self._connection)
        return self._ended

    @property
    def busy(self) -> bool:
        """Whether there is output that our own reader has yet to take."""
        return any(sink.waiting for sink in self._sinks.values())

    @property
    def over(self) -> bool:
        """Whether the monitor has nothing more to say."""
        return self._ended is not None

    def say(self, message: bytes) -> None:
        """Tell the monitor, now or when it listens."""
        self.unsaid.append(message)
        self.speak()

    def speak(self) -> None:
        """Send what wasn't sent. If the monitor is gone, the reading end tells."""
        try:
            while self.unsaid:
                os.write(self._connection, self.unsaid[0])
                self.unsaid.popleft()
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self.unsaid.clear()

    def hear(self, message: bytes) -> None:
        """Take in what the monitor says."""
        letter, data = message[:1], message[1:]
        if letter in self._sinks:
            if not self._began:  # it runs, though its first process has yet to say so
                self._on_start()
            self._sinks[letter].waiting = data
        elif letter == control.RUNS:
            self._on_start()
        elif letter == control.FAILED:
            self._failure = data.decode(errors="replace").partition(" ")[2]
        elif letter == control.EXITED:
            self._ended = Ended(int(data), self._failure, told=True)
        elif not message and self._ended is None:
            self._ended = Ended(None, self._failure, told=False)

    def type(self, data: bytes) -> None:
        """Pass on what was typed."""
        typed, leave = self._keys.feed(data)
        if typed or not data:
            self.say(control.INPUT + typed)
        if leave:
            self.say(control.DETACH)
            self._ended = Ended(None, "", told=True)

    def _on_start(self) -> None:
        self._began = True
        if not self._wish.streams and not self._wish.stdin:
            self.say(control.DETACH)
            self._ended = Ended(None, "", told=True)
        if self._settings is not None:
            console.make_raw(0)
        if self._wish.tty:
            self.say(control.SIZE + control.pack_size(console.own_size()))

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number != signal.SIGWINCH:
                self.say(control.SIGNAL + bytes((number,)))
            else:
                self.say(control.SIZE + control.pack_size(console.own_size()))


class _Ear:
    """The connection to the monitor: read when there is room for what it says."""

    def __init__(self, session: Session, fd: int) -> None:
        self.ended = False
        self._session = session
        self._fd = fd

    def wants(self) -> tuple[int, int]:
        listening = not (self._session.busy or self._session.over)
        events = (select.POLLIN if listening else 0) | (select.POLLOUT if self._session.unsaid else 0)
        return (self._fd, events) if events else (-1, 0)

    def step(self, events: int) -> None:
        if events & select.POLLOUT:
            self._session.speak()
        if events & ~select.POLLOUT and not (self._session.busy or self._session.over):
            self._listen()

    def _listen(self) -> None:
        try:
            message = os.read(self._fd, control.MOST_BYTES)
        except (BlockingIOError, ConnectionResetError):
            return  # reset: it left without having read all of ours; said once, before what it said last
        self._session.hear(message)


class _Sink:
    """One of our output streams."""

    def __init__(self, session: Session, fd: int, letter: bytes) -> None:
        self.ended = False
        self.waiting = b""
        self._session = session
        self._fd = fd
        self._letter = letter

    def wants(self) -> tuple[int, int]:
        return (self._fd, select.POLLOUT) if self.waiting else (-1, 0)

    def step(self, events: int) -> None:
        try:
            self.waiting = self.waiting[os.write(self._fd, self.waiting[:WRITE_BYTES]) :]
        except BlockingIOError:
            return  # somebody else made the terminal or pipe non-blocking
        except OSError as error:
            # EPIPE: our reader has left, and the command is to know; EIO: we lost our terminal
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self.waiting = b""
            self._session.say(control.UNREAD + self._letter)


class _Keyboard:
    """Our standard input."""

    def __init__(self, session: Session) -> None:
        self.ended = False
        self._session = session

    def wants(self) -> tuple[int, int]:
        return (-1, 0) if self._session.over or self._session.unsaid else (0, select.POLLIN)

    def step(self, events: int) -> None:
        try:
            data = os.read(0, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        self.ended = not data
        self._session.type(data)


class _Keys:
    """Finds the sequence that leaves the container, also if it comes in pieces; the rest is passed on."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on of `data`, and whether the sequence is complete."""
        if not self._keys:
            return data, False
        data, self._held = self._held + data, b""
        before, found, _ = data.partition(self._keys)
        if found:
            return before, True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:length]):
                self._held = data[-length:]
                return data[:-length], False
        return data, False


def result(ended: Ended) -> int:
    """The exit status of who waited for the container. Raises Refusal: its command didn't run."""
    if not ended.told:
        raise Refusal("the container's monitor process was killed")
    if ended.failure:
        raise Refusal(ended.failure, ended.status or 0)
    return ended.status or 0
