"""How a container hangs on the command that starts it."""

import os
from typing import Any, NamedTuple

from runtime.container.config import Config, Maps
from runtime.errors import UsageError

DEFAULT_KEYS = b"\x10\x11"  # ctrl-p, ctrl-q


class Wish(NamedTuple):
    """What a command passes on between a container and its own surroundings."""

    stdin: bool = False
    streams: bytes = b"oe"
    """Letters of control.py: its output and error output; none: return when the container's command runs."""
    tty: bool = False
    signals: bool = True
    keys: bytes = DEFAULT_KEYS
    """What is typed to leave the container to itself."""


BACKGROUND = Wish(streams=b"", signals=False)
"""Only to hear that the command runs."""


def foreground(config: Config) -> Wish:
    """All of the streams that the container has."""
    return Wish(stdin=config.interactive, tty=config.tty)


class Caller(NamedTuple):
    """What its monitor gets from the command that starts it."""

    connection: int
    """The monitor's end of a connection as in control.py; the container ends with the other, until told otherwise."""
    terminal: tuple[int, list[Any]] | None = None
    """The caller's own terminal and its settings, to be restored if the caller lends it and can't."""
    size: tuple[int, int] = (0, 0)
    """Rows and columns of the terminal that the command gets, if it gets one."""
    streams: bytes = b""
    """What it is attached to, before anything can come there."""
    maps: Maps | None = None
    """Of the user namespace that this is all in, if the caller is an ordinary user."""

    def descriptors(self) -> set[int]:
        """All that are open."""
        return {self.connection, self.terminal[0] if self.terminal else -1} - {-1}

    def close(self) -> None:
        """Let them go: they are the monitor's."""
        for fd in self.descriptors():
            os.close(fd)

    def told(self, size: tuple[int, int], lent: bool, streams: bytes) -> "Caller":
        """As control.unpack_begin() says."""
        if self.terminal is not None and not lent:
            os.close(self.terminal[0])
        return self._replace(size=size, terminal=self.terminal if lent else None, streams=streams)


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q`, `ctrl-@`, `a`: the bytes they send. Raises UsageError."""
    keys = b""
    for name in filter(None, text.split(",")):
        letter = name.removeprefix("ctrl-")
        if len(letter) != 1 or not letter.isascii():
            raise UsageError(f"invalid detach keys {text!r}: it is a list of characters and ctrl-CHARACTER")
        keys += bytes((ord(letter.upper()) ^ 0x40,)) if name.startswith("ctrl-") else letter.encode()
    return keys
