"""Errors meant for the person at the terminal, with the exit status they end in, and the statuses themselves."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

FAILURE = 125
"""pyunion itself failed, or was called wrongly; the command never ran."""
NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNALLED = 128
"""Plus the number of the signal that ended the command."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk is, or one that is full for this user."""


class Refusal(Exception):
    """What was asked can't be done: one clear line, and the status to exit with."""

    def __init__(self, message: str, status: int = FAILURE) -> None:
        super().__init__(message)
        self.status = status


class UsageError(Refusal):
    """The command line itself is wrong; the message names the culprit."""


@contextmanager
def named(path: str) -> Iterator[None]:
    """Let a full disk, said of no file in particular, be told of `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = path
        raise


def one_line(text: str) -> str:
    """`text` without control characters, so that it stays one line of a terminal and of a pipe."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def describe(error: OSError) -> str:
    """An OSError as people read it: what, then why."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return reason
    return f"{_text(error.filename)}: {reason}"


def _text(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
