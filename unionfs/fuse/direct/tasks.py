"""Requests that wait for a slow step: generators of the core, carried on when the step has run in a thread."""

import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from unionfs.core.work import Steps, Work
from unionfs.fuse.direct.workers import Workers

Answer = bytes | bytearray | memoryview
"""What stands behind out_header in a reply."""
Reply = Callable[[int, Answer | Exception], None]
"""Called with the number of a request (`unique`) and its answer."""


class _Task(NamedTuple):
    """A request in progress."""

    unique: int
    steps: Steps[Answer]


class Tasks:
    """Runs each Work once, however many requests wait for it."""

    def __init__(self, workers: Workers, reply: Reply) -> None:
        self._workers = workers
        self._reply = reply
        self._waiting: dict[Work, list[_Task]] = {}
        self._work_of: dict[int, Work] = {}
        """What each waiting request waits for, by its `unique`."""
        self._interrupted: set[int] = set()

    def start(self, unique: int, steps: Steps[Answer]) -> None:
        """Carry out `steps`; their value, or what they raise, is the answer to the request `unique`."""
        self._go_on(_Task(unique, steps), None)

    def interrupt(self, unique: int) -> None:
        """The process that waits for the request `unique` got a signal: answer EINTR soon, if the step can be stopped.

        A step that others wait for goes on for them.
        """
        work = self._work_of.get(unique)
        if work is None or not work.stoppable:
            return
        tasks = self._waiting[work]
        if any(task.unique not in self._interrupted and task.unique != unique for task in tasks):
            task = next(task for task in tasks if task.unique == unique)
            tasks.remove(task)
            del self._work_of[unique]
            task.steps.close()
            self._reply(unique, InterruptedError(errno.EINTR, os.strerror(errno.EINTR)))
        else:
            self._interrupted.add(unique)
            work.stop = True

    def _go_on(self, task: _Task, error: Exception | None) -> None:
        try:
            work = next(task.steps) if error is None else task.steps.throw(error)
        except StopIteration as stop:
            self._reply(task.unique, stop.value)
        except Exception as raised:
            self._reply(task.unique, raised)
        else:
            self._wait(task, work)

    def _wait(self, task: _Task, work: Work) -> None:
        self._work_of[task.unique] = work
        tasks = self._waiting.get(work)
        if tasks is not None:
            tasks.append(task)
            return
        self._waiting[work] = [task]
        self._workers.submit(work.run, lambda error: self._finished(work, error))

    def _finished(self, work: Work, error: Exception | None) -> None:
        tasks = self._waiting.pop(work)
        for task in tasks:
            del self._work_of[task.unique]
        if not isinstance(error, InterruptedError):
            for task in tasks:
                self._interrupted.discard(task.unique)
                self._go_on(task, error)
            return
        # those who stopped it clean up; who joined since finds it undone, and begins again
        stopped = [task for task in tasks if task.unique in self._interrupted]
        for task in stopped:
            self._interrupted.discard(task.unique)
            self._go_on(task, error)
        for task in tasks:
            if task not in stopped:
                self._go_on(task, None)
