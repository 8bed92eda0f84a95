"""What the processes of a container tell upwards through pipes: that the command runs, or why it doesn't.

A message is a line, at most PIPE_BUF long, so that several writers don't mix. The first failure is the cause;
what comes after it is consequence.
"""

import os
import select
from typing import NamedTuple

from runtime.errors import FAILURE, Refusal, describe, one_line

_MOST_BYTES = 4096  # PIPE_BUF
_STARTED = b"started\n"
_UNSHARED = b"unshared\n"


class Failure(NamedTuple):
    """Why the command didn't run, and the exit status that says so."""

    status: int
    message: str


def failure_of(error: Exception) -> Failure:
    """What to say of an exception. A bug is said in one line: a traceback would look for our source among a container's
    files."""
    if isinstance(error, Refusal):
        return Failure(error.status, str(error))
    if isinstance(error, OSError):
        return Failure(FAILURE, describe(error))
    return Failure(FAILURE, f"{type(error).__name__}: {error}")


def send_started(fd: int) -> None:
    """Say that the command runs."""
    os.write(fd, _STARTED)


def send_unshared(fd: int) -> None:
    """Say that the container's namespaces are there."""
    os.write(fd, _UNSHARED)


def send_failure(fd: int, status: int, message: str) -> None:
    """Say why the command doesn't run."""
    text = one_line(message).encode(errors="backslashreplace")
    os.write(fd, b"%d %s\n" % (status, text[: _MOST_BYTES - 16]))


def is_heard(fd: int) -> bool:
    """Whether somebody still has the reading end."""
    poll = select.poll()
    poll.register(fd, 0)
    return not poll.poll(0)


class Progress:
    """The reading end: feed it what the pipe gives."""

    def __init__(self) -> None:
        self.unshared = False
        self.started = False
        self.failure: Failure | None = None
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if line + b"\n" == _STARTED:
                self.started = True
            elif line + b"\n" == _UNSHARED:
                self.unshared = True
            else:
                status, _, message = line.partition(b" ")
                self.fail(int(status) if status.isdigit() else FAILURE, message.decode(errors="replace"))

    def fail(self, status: int, message: str) -> None:
        """Note a failure, unless one is known."""
        if self.failure is None:
            self.failure = Failure(status, message)
