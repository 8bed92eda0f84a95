"""Threads for what is slow: bytes copied, fsync, reads from a disk. They touch no state, and report to a descriptor.

Plain threads, started when they are needed and kept: a hop to one that waits takes 40 µs. Of `_thread`, since
`threading` and `queue` take 1 ms of a container's start.
"""

import _thread
import os
from collections import deque
from collections.abc import Callable

Run = Callable[[], object]
Done = Callable[[Exception | None], None]


class Workers:
    """At most `limit` threads. `submit` and `collect` belong to one thread, the one that polls `fd`."""

    def __init__(self, limit: int = 16) -> None:
        self._limit = limit
        self._threads = 0
        self.busy = 0
        """How many runs are under way or wait for a thread."""
        self._jobs: deque[tuple[Run, Done]] = deque()
        self._waiting = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        """Read by a thread for each of the jobs."""
        self._finished: deque[tuple[Done, Exception | None]] = deque()
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Readable when something has finished."""

    def submit(self, run: Run, done: Done) -> None:
        """Call `run` in a thread; `collect` then calls `done` with the exception it raised, or None."""
        self.busy += 1
        if self.busy > self._threads and self._threads < self._limit:
            self._threads += 1
            _thread.start_new_thread(self._work, ())
        self._jobs.append((run, done))
        os.eventfd_write(self._waiting, 1)

    def collect(self) -> None:
        """Hear what has finished since the last call."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return
        while self._finished:
            done, error = self._finished.popleft()
            self.busy -= 1
            done(error)

    def close(self) -> None:
        """Forget the threads; those that work still end with the process, as does the descriptor they write to."""
        if not self.busy:
            os.close(self.fd)

    def _work(self) -> None:
        while True:
            os.eventfd_read(self._waiting)
            run, done = self._jobs.popleft()
            error: Exception | None = None
            try:
                run()
            except Exception as raised:
                error = raised
            self._finished.append((done, error))
            os.eventfd_write(self.fd, 1)
