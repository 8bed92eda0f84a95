"""A poll() loop over descriptors, so that signals, the end of the container and its streams are all heard of.

A write is at most PIPE_BUF, which a pipe or terminal that polled writable takes without blocking, so nobody's
descriptors have to be made non-blocking.
"""

import select
from collections.abc import Callable
from typing import Protocol

WRITE_BYTES = 4096  # PIPE_BUF
READ_BYTES = 32768
_MOST_MS = (1 << 31) - 1  # a timeout of poll(2) is an int
_ALWAYS = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Party(Protocol):
    """Something that waits for a descriptor: for other events at other times."""

    ended: bool

    def wants(self) -> tuple[int, int]:
        """The descriptor and poll events it waits for; a negative one: nothing for now."""

    def step(self, events: int) -> None:
        """Do what was waited for."""


class Loop:
    """Calls functions when descriptors are readable, and parties when they have what they want."""

    def __init__(self) -> None:
        self.parties: list[Party] = []
        self._watched: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call `on_readable` whenever `fd` is readable or its other end is closed."""
        self._watched[fd] = on_readable

    def forget(self, fd: int) -> None:
        """Stop watching `fd`."""
        self._watched.pop(fd, None)

    def turn(self, timeout_s: float | None = None) -> None:
        """Wait for something to happen, at most so long and in any case not for months, and deal with it."""
        self.parties = [party for party in self.parties if not party.ended]
        wanted = [(party, *party.wants()) for party in self.parties]
        interest = dict.fromkeys(self._watched, select.POLLIN)
        for _, fd, events in wanted:
            if fd >= 0:
                interest[fd] = interest.get(fd, 0) | events
        poll = select.poll()
        for fd, events in interest.items():
            poll.register(fd, events)
        ready = dict(poll.poll(None if timeout_s is None else min(max(0.0, timeout_s * 1000), _MOST_MS)))
        for fd, call in list(self._watched.items()):
            if ready.get(fd) and self._watched.get(fd) is call:
                call()
        for party, fd, events in wanted:
            happened = ready.get(fd, 0) & (events | _ALWAYS)
            if happened and not party.ended:
                party.step(happened)
