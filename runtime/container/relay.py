"""Copying between descriptors inside a poll() loop, so that signals and the end of the container are never missed.

One buffer each way: read when it is empty, write when it isn't. A write is at most PIPE_BUF, which a pipe or
terminal that polled writable takes without blocking, so nobody's descriptors have to be made non-blocking.
"""

import errno
import os
import select
from collections.abc import Callable

_READ_BYTES = 65536
_WRITE_BYTES = 4096


class Relay:
    """One direction: what `source` gives goes to `sink`, until one of them has ended."""

    def __init__(self, source: int, sink: int, on_end: Callable[[], None]) -> None:
        self.source = source
        self.sink = sink
        self.ended = False
        self._on_end = on_end
        self._waiting = memoryview(b"")

    def wants(self) -> tuple[int, int]:
        """The descriptor and poll events it waits for."""
        return (self.sink, select.POLLOUT) if self._waiting else (self.source, select.POLLIN)

    def step(self) -> None:
        """Do what was waited for."""
        try:
            if self._waiting:
                self._waiting = self._waiting[os.write(self.sink, self._waiting[:_WRITE_BYTES]) :]
                return
            self._waiting = memoryview(os.read(self.source, _READ_BYTES))
            if not self._waiting:
                self._end()
        except BlockingIOError:
            return  # somebody else made the terminal or pipe non-blocking, and took what there was
        except OSError as error:
            # EIO: the last process of the terminal closed it (or, reading ours, we lost ours); EPIPE: nobody reads
            if error.errno not in (errno.EIO, errno.EPIPE):
                raise
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._on_end()


class Loop:
    """A poll() loop over relays and other descriptors, each with a function to call when it is readable."""

    def __init__(self) -> None:
        self.relays: list[Relay] = []
        self._watched: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call `on_readable` whenever `fd` is readable or its other end is closed."""
        self._watched[fd] = on_readable

    def forget(self, fd: int) -> None:
        """Stop watching `fd`."""
        self._watched.pop(fd, None)

    def turn(self) -> None:
        """Wait for something to happen, and deal with it."""
        poll = select.poll()
        for fd in self._watched:
            poll.register(fd, select.POLLIN)
        self.relays = [relay for relay in self.relays if not relay.ended]
        wanted = [(relay, *relay.wants()) for relay in self.relays]
        interest: dict[int, int] = {}
        for _, fd, events in wanted:
            interest[fd] = interest.get(fd, 0) | events
        for fd, events in interest.items():
            poll.register(fd, events)
        ready = dict(poll.poll())
        for fd, call in list(self._watched.items()):
            if ready.get(fd):
                call()
        for relay, fd, events in wanted:
            if not relay.ended and ready.get(fd, 0) & (events | select.POLLHUP | select.POLLERR | select.POLLNVAL):
                relay.step()
