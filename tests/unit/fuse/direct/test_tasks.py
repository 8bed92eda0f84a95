"""Requests that wait for slow steps, without a kernel."""

import errno
import select
import threading
from collections.abc import Iterator

import pytest

from unionfs.core.work import Steps, Work
from unionfs.fuse.direct.tasks import Answer, Tasks
from unionfs.fuse.direct.workers import Workers


class Place:
    """Tasks, and what they answered."""

    def __init__(self) -> None:
        self.workers = Workers(limit=4)
        self.answers: dict[int, Answer | Exception] = {}
        self.is_dying = True
        self.tasks = Tasks(self.workers, self.answer, lambda pid: self.is_dying)

    def answer(self, unique: int, answer: Answer | Exception) -> None:
        assert unique not in self.answers, "answered twice"
        self.answers[unique] = answer

    def settle(self) -> None:
        while self.workers.busy:
            assert select.select([self.workers.fd], [], [], 10)[0]
            self.workers.collect()


class Step:
    """A step that waits until it is let go, and stops when it is told to."""

    def __init__(self, *, stoppable: bool = True, error: Exception | None = None) -> None:
        self.runs = 0
        self.gate = threading.Event()
        self.error = error
        self.work = Work(self._run, stoppable=stoppable)

    def _run(self) -> None:
        self.runs += 1
        while not self.gate.wait(0.005):
            if self.work.stop:
                raise InterruptedError(errno.EINTR, "stopped")
        if self.error is not None:
            raise self.error


def waits(step: Step, seen: list[str], name: str) -> Steps[Answer]:
    """A verb that waits for `step`, and notes how it came back."""
    try:
        yield step.work
    except OSError as error:
        seen.append(f"{name} {type(error).__name__}")
        raise
    seen.append(name)
    return name.encode()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.settle()
    made.workers.close()


def test_what_needs_no_step_is_answered_at_once(place: Place) -> None:
    def steps() -> Steps[Answer]:
        yield from ()
        return b"answer"

    place.tasks.start(1, steps())
    assert place.answers == {1: b"answer"}


def test_a_step_is_run_once_for_all_that_wait(place: Place) -> None:
    step, seen = Step(), list[str]()
    for unique in (1, 2, 3):
        place.tasks.start(unique, waits(step, seen, f"{unique}"))
    step.gate.set()
    place.settle()
    assert (step.runs, place.answers) == (1, {1: b"1", 2: b"2", 3: b"3"})


def test_its_error_is_raised_in_all_of_them(place: Place) -> None:
    error = OSError(errno.ENOSPC, "full")
    step, seen = Step(error=error), list[str]()
    for unique in (1, 2):
        place.tasks.start(unique, waits(step, seen, f"{unique}"))
    step.gate.set()
    place.settle()
    assert place.answers == {1: error, 2: error}


def test_a_signal_stops_what_only_one_waits_for(place: Place) -> None:
    step, seen = Step(), list[str]()
    place.tasks.start(1, waits(step, seen, "one"))
    place.tasks.interrupt(1)
    assert isinstance(place.answers[1], InterruptedError)
    place.settle()
    assert seen == ["one InterruptedError"]


def test_a_signal_that_does_not_end_who_waits_stops_nothing_until_one_does(place: Place) -> None:
    step, seen = Step(), list[str]()
    place.is_dying = False
    place.tasks.start(1, waits(step, seen, "one"))
    place.tasks.interrupt(1)
    assert place.answers == {}
    place.is_dying = True
    place.settle()
    assert seen == ["one InterruptedError"]


def test_a_signal_leaves_the_step_to_others(place: Place) -> None:
    step, seen = Step(), list[str]()
    for unique in (1, 2):
        place.tasks.start(unique, waits(step, seen, f"{unique}"))
    place.tasks.interrupt(1)
    step.gate.set()
    place.settle()
    assert isinstance(place.answers[1], InterruptedError)
    assert place.answers[2] == b"2"
    assert seen == ["2", "1 InterruptedError"]


def test_who_joins_a_stopped_step_goes_on_after_it_was_undone(place: Place) -> None:
    step, seen = Step(), list[str]()
    place.tasks.start(1, waits(step, seen, "one"))
    place.tasks.interrupt(1)
    place.tasks.start(2, waits(step, seen, "two"))
    place.settle()
    assert seen == ["one InterruptedError", "two"]
    assert place.answers[2] == b"two"


def test_a_result_that_came_before_the_signal_could_stop_it_is_undone(place: Place) -> None:
    step, seen = Step(), list[str]()
    step.gate.set()
    place.tasks.start(1, waits(step, seen, "one"))
    place.tasks.interrupt(1)
    place.settle()
    assert seen == ["one InterruptedError"]


def test_signals_to_what_cannot_be_stopped_or_is_unknown_change_nothing(place: Place) -> None:
    step, seen = Step(stoppable=False), list[str]()
    place.tasks.start(1, waits(step, seen, "one"))
    for unique in (1, 2):
        place.tasks.interrupt(unique)
    step.gate.set()
    place.settle()
    assert place.answers == {1: b"one"}


def test_more_steps_than_threads_are_all_run(place: Place) -> None:
    steps, seen = [Step() for _ in range(12)], list[str]()
    for unique, step in enumerate(steps):
        place.tasks.start(unique, waits(step, seen, f"{unique}"))
    for step in steps:
        step.gate.set()
    place.settle()
    assert len(place.answers) == 12
