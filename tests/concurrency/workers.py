"""Processes that do something on a mount all at once, and tell what went wrong.

    run([partial(work, root, 0), partial(work, root, 1)])       # raises what a worker raised
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

LONGEST_S = 600


def run(works: Sequence[Callable[[], object]]) -> None:
    """Run each of `works` in a process of its own. Raises AssertionError with the trouble of all that failed."""
    children = [_start(work) for work in works]
    failures = []
    for pid, reader in children:
        with os.fdopen(reader, "rb") as pipe:
            trouble = pipe.read().decode(errors="replace")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if trouble or status:
            failures.append(trouble or f"a worker ended with {status}")
    assert not failures, f"{len(failures)} of {len(works)} workers failed:\n" + "\n".join(failures)


def _start(work: Callable[[], object]) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.close(reader)
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest's own; ours just ends the process
        signal.alarm(LONGEST_S)
        work()
    except BaseException:
        os.write(writer, traceback.format_exc()[-8000:].encode())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(0)


class Barrier:
    """Lets `parties` processes go on together, as often as they come."""

    def __init__(self, parties: int) -> None:
        self._tokens = [os.pipe() for _ in range(parties)]
        self._parties = parties

    def wait(self, number: int) -> None:
        """Wait, as process `number`, until all are here."""
        for other in range(self._parties):
            os.write(self._tokens[other][1], b"x")
        arrived = 0
        while arrived < self._parties:
            arrived += len(os.read(self._tokens[number][0], self._parties - arrived))

    def close(self) -> None:
        for reader, writer in self._tokens:
            os.close(reader)
            os.close(writer)
