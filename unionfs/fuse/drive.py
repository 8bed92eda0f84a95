"""Carries verbs that are generators to their end: each slow step in a worker thread, everything else in place."""

from collections.abc import Callable

import trio

from unionfs.core.work import Steps, T, Work
from unionfs.fuse.loop import Loop


class Driver:
    """Runs each Work once, however many verbs wait for it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._running: dict[Work, _Outcome] = {}

    async def drive(self, steps: Steps[T]) -> T:
        """The value of `steps`. An error of its slow step is raised in it, where it may clean up or go on."""
        try:
            work = next(steps)
            while True:
                error = await self._finish(work)
                work = next(steps) if error is None else steps.throw(error)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def _finish(self, work: Work) -> Exception | None:
        """Wait until `work` is done; what it raised."""
        outcome = self._running.get(work)
        if outcome is not None:
            with self._loop.sleep():
                await outcome.event.wait()
            return outcome.error
        outcome = self._running[work] = _Outcome()
        try:
            outcome.error = await self._loop.in_thread(_caught(work.run))
        finally:
            # from here to the generator's next yield nothing else runs, so nobody can yield this work again
            del self._running[work]
            outcome.event.set()
        return outcome.error


class _Outcome:
    __slots__ = ("error", "event")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.error: Exception | None = None


def _caught(run: Callable[[], None]) -> Callable[[], Exception | None]:
    def caught() -> Exception | None:
        try:
            run()
        except Exception as error:
            return error
        return None

    return caught
