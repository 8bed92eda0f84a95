"""A few threads for jobs that may beget others; the first failure calls off the rest.

Daemon threads of our own, since those of concurrent.futures are waited for at the interpreter's end: a stalled
connection would hold up Ctrl-C for a minute.
"""

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]


class Crew:
    """Several kinds of jobs, each with its own number of threads. Fill it with add(), then run() it once."""

    def __init__(self, threads: dict[str, int], call_off: Callable[[], None]) -> None:
        self._threads = threads
        self._call_off = call_off
        self._changed = threading.Condition()
        self._jobs: dict[str, deque[Job]] = {kind: deque() for kind in threads}
        self._unfinished = 0
        self._error: BaseException | None = None

    def add(self, kind: str, job: Job) -> None:
        """One more job; jobs may do it too."""
        with self._changed:
            self._jobs[kind].append(job)
            self._unfinished += 1
            self._changed.notify_all()

    def run(self) -> None:
        """Have all jobs done. Raises the first job's exception when those under way have stopped as well."""
        workers = [
            threading.Thread(target=self._work, args=(kind,), daemon=True)
            for kind, count in self._threads.items()
            for _ in range(count)
        ]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        except BaseException:
            self._fail(InterruptedError())
            raise
        if self._error is not None:
            raise self._error

    def _work(self, kind: str) -> None:
        while (job := self._next(kind)) is not None:
            try:
                job()
            except BaseException as error:
                self._fail(error)
            with self._changed:
                self._unfinished -= 1
                self._changed.notify_all()

    def _next(self, kind: str) -> Job | None:
        with self._changed:
            while self._unfinished and not self._jobs[kind] and self._error is None:
                self._changed.wait()
            return self._jobs[kind].popleft() if self._jobs[kind] and self._error is None else None

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._changed.notify_all()
        self._call_off()
