"""Requests that wait for a slow step: generators of the core, carried on when the step has run in a thread."""

import errno
import os
import time
from collections.abc import Callable
from functools import partial

from unionfs.core.work import Steps, Work
from unionfs.fuse.direct.workers import Workers

Answer = bytes | bytearray | memoryview
"""What stands behind out_header in a reply."""
Reply = Callable[[int, Answer | Exception], None]
"""Called with the number of a request (`unique`) and its answer."""


_LOOK_AGAIN_S = 0.1


class _Task:
    """A request in progress."""

    __slots__ = ("interrupted", "pid", "steps", "unique", "work")

    def __init__(self, unique: int, steps: Steps[Answer], pid: int) -> None:
        self.unique = unique
        self.pid = pid
        """Of who asks."""
        self.steps = steps
        self.work: Work | None = None
        """What it waits for."""
        self.interrupted = False
        """It was answered with EINTR, and only cleans up."""


class Tasks:
    """Runs each Work once, however many requests wait for it."""

    def __init__(self, workers: Workers, reply: Reply, is_dying: Callable[[int], bool]) -> None:
        """`is_dying`: whether a process of that number was told to end for good."""
        self._workers = workers
        self._reply = reply
        self._is_dying = is_dying
        self._tasks: dict[int, _Task] = {}
        """Those that wait, by `unique`."""
        self._waiting: dict[Work, list[_Task]] = {}

    def start(self, unique: int, steps: Steps[Answer], pid: int = 0) -> None:
        """Carry out `steps`; their value, or what they raise, is the answer to the request `unique` of `pid`."""
        self._go_on(_Task(unique, steps, pid), None)

    def interrupt(self, unique: int) -> None:
        """The process that waits for the request `unique` got a signal: if that ends it, and its step can be stopped,
        answer EINTR. Any other signal can wait, as on any filesystem with files on a disk.

        The step is stopped, unless others wait for it too; what was begun is undone when it has stopped.
        """
        task = self._tasks.get(unique)
        if task is None or task.work is None or not task.work.stoppable:
            return
        if not self._is_dying(task.pid):  # it may yet be, and the kernel tells of the first signal alone
            self._workers.submit(partial(time.sleep, _LOOK_AGAIN_S), lambda _: self.interrupt(unique))
            return
        del self._tasks[unique]
        task.interrupted = True
        task.work.stop = all(other.interrupted for other in self._waiting[task.work])
        self._reply(unique, _interrupted())

    def _go_on(self, task: _Task, error: Exception | None) -> None:
        task.work = None
        try:
            work = next(task.steps) if error is None else task.steps.throw(error)
        except StopIteration as stop:
            self._end(task, stop.value)
        except Exception as raised:
            self._end(task, raised)
        else:
            self._wait(task, work)

    def _end(self, task: _Task, answer: Answer | Exception) -> None:
        self._tasks.pop(task.unique, None)
        if not task.interrupted:
            self._reply(task.unique, answer)

    def _wait(self, task: _Task, work: Work) -> None:
        task.work = work
        if not task.interrupted:
            self._tasks[task.unique] = task
        if work in self._waiting:
            self._waiting[work].append(task)
        else:
            self._waiting[work] = [task]
            self._workers.submit(work.run, lambda error: self._finished(work, error))

    def _finished(self, work: Work, error: Exception | None) -> None:
        """Carry on those that waited for `work`.

        When it was stopped, those who gave up come first and clean up; who joined since finds it undone, and begins
        again. Otherwise they come last: others have used the result, or nobody has and they clean up all the same.
        """
        tasks = self._waiting.pop(work)
        for task in tasks:
            self._tasks.pop(task.unique, None)
        stopped = isinstance(error, InterruptedError)
        given_up = error or _interrupted()
        for task in sorted(tasks, key=lambda task: task.interrupted != stopped):
            if task.interrupted:
                self._go_on(task, given_up)
            else:
                self._go_on(task, None if stopped else error)


def _interrupted() -> InterruptedError:
    return InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
