"""The one `yield` of the core: a verb that meets a slow step yields it and goes on when it is done.

Whoever drives the generator decides where the step runs: in place (`run_inline`), or in a thread while other verbs
go on. State may have changed whenever a `yield` returns: the code after it looks again.
"""

import os
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")


class Work:
    """A slow step: `run` reads and writes files only, and may be called in any thread, once.

    Several generators may yield the same object: it is run once, then all of them go on. Its OSError is raised at
    each of their yields.
    """

    __slots__ = ("run", "stop", "stoppable")

    def __init__(self, run: Callable[[], None], *, stoppable: bool = False) -> None:
        self.run = run
        self.stoppable = stoppable
        """Whether `run` looks at `stop` now and then."""
        self.stop = False
        """Set, in any thread, when nobody wants the result: `run` raises InterruptedError soon, and those who made it
        stop get that at their yield. Others that waited too are resumed after them as if it had run; they look."""


def syncing(fd: int, datasync: bool) -> Work:
    """The step of fsync(2) or fdatasync(2) on `fd`, which it closes."""
    sync = os.fdatasync if datasync else os.fsync

    def run() -> None:
        try:
            sync(fd)
        finally:
            os.close(fd)

    return Work(run)


Steps = Generator[Work, None, T]
"""A verb in progress; its return value is the verb's."""


def run_inline(steps: Steps[T]) -> T:
    """Drive `steps` to its end in this thread, and return its value."""
    try:
        work = next(steps)
        while True:
            try:
                work.run()
            except OSError as error:
                work = steps.throw(error)
            else:
                work = next(steps)
    except StopIteration as stop:
        value: T = stop.value
        return value
