"""Signals as something to poll for: each that comes is a byte, its number, on a pipe."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

ALL = frozenset(map(int, signal.valid_signals()))
"""Asked for once: to find the names of all takes 0.1 ms."""
ENDING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
"""Those that ask a process to end."""

_OURS = {
    *(signal.SIGKILL, signal.SIGSTOP),  # not to be caught
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT),  # the caller's shell stops and continues us
    *(signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS),  # bugs
}
PASSED_ON = ALL - _OURS
"""What the command gets when one of our processes does."""


def catch(numbers: Iterable[int]) -> int:
    """Have each of `numbers` written to a pipe when it comes, and unblocked: the pipe's reading end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return reader


@contextmanager
def blocked() -> Iterator[None]:
    """Let every signal wait meanwhile; a child that is forked in it has them all blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def block_all() -> None:
    """Let every signal wait that can."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)


def reset() -> None:
    """Back to what a program starts with: nothing caught, ignored or blocked."""
    for number in ALL - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _nothing(number: int, frame: object) -> None:
    """The wakeup pipe has told already."""
