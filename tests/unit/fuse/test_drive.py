"""Verbs that are generators, carried to their end with the slow steps in threads."""

import errno
import threading

import pytest
import trio
import trio.testing

from unionfs.core.work import Steps, Work
from unionfs.fuse.drive import Driver
from unionfs.fuse.loop import Loop

pytestmark = pytest.mark.trio


class Slow:
    """Work that waits until it is let go, and counts how often it ran."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.go = threading.Event()
        self.runs = 0
        self.thread: threading.Thread | None = None
        self.work = Work(self.run)

    def run(self) -> None:
        self.runs += 1
        self.thread = threading.current_thread()
        assert self.go.wait(5)
        if self.error is not None:
            raise self.error


def verb(slow: Slow, steps: list[str], name: str) -> Steps[str]:
    steps.append(f"{name} begins")
    try:
        yield slow.work
    except OSError as error:
        steps.append(f"{name} sees {error.errno}")
        raise
    steps.append(f"{name} ends")
    return name


async def test_a_verb_without_slow_steps_is_done_at_once():
    def quick(slow: Slow | None = None) -> Steps[int]:
        if slow is not None:
            yield slow.work
        return 5

    assert await Driver(Loop()).drive(quick()) == 5


async def test_slow_work_runs_in_another_thread_while_others_go_on():
    driver, slow = Driver(Loop()), Slow()
    steps: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.drive, verb(slow, steps, "a"))
        await trio.testing.wait_all_tasks_blocked()
        assert steps == ["a begins"]
        slow.go.set()
    assert steps == ["a begins", "a ends"]
    assert slow.thread is not threading.current_thread()


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSPC, "full")])
async def test_work_that_several_verbs_wait_for_runs_once(error):
    driver, slow = Driver(Loop()), Slow(error)
    steps: list[str] = []
    outcomes: list[str | int | None] = []

    async def drive(name: str) -> None:
        try:
            outcomes.append(await driver.drive(verb(slow, steps, name)))
        except OSError as raised:
            outcomes.append(raised.errno)

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(drive, name)
        await trio.testing.wait_all_tasks_blocked()
        slow.go.set()
    assert slow.runs == 1
    if error is None:
        assert set(outcomes) == {"a", "b", "c"}
    else:
        assert outcomes == [errno.ENOSPC] * 3
        assert sorted(steps[3:]) == [f"{name} sees {errno.ENOSPC}" for name in "abc"]


async def test_a_verb_may_go_on_after_an_error_of_its_work():
    def patient(first: Slow, second: Slow) -> Steps[str]:
        try:
            yield first.work
        except OSError:
            yield second.work
        return "done"

    failing, working = Slow(OSError(errno.EIO, "broken")), Slow()
    failing.go.set()
    working.go.set()
    assert await Driver(Loop()).drive(patient(failing, working)) == "done"
    assert (failing.runs, working.runs) == (1, 1)
