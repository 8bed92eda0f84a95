"""What a contest is: commands that reach the same by different means, run in turn and timed from start to end.

    @contest("start", "start of a container", ours="pyunion run", aim_ms=60)
    @contextmanager
    def start(scratch: Path) -> Iterator[dict[str, Action]]:
        yield {"pyunion run": lambda: run("pyunion", "run", ...), "another": ...}

What comes before the yield prepares, what comes after it cleans up; neither is timed. An action may return a function
that undoes what it did.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from bench.results import Results
from bench.runner import scratch_folder
from bench.workload import Failed

Action = Callable[[], Callable[[], object] | object]
Preparation = Callable[[Path], AbstractContextManager[dict[str, Action]]]


class Contest(NamedTuple):
    """Its row in the results is its title. `aim_ms` is the most that the entrant `ours` may take."""

    name: str
    title: str
    prepare: Preparation
    ours: str
    aim_ms: float | None
    rounds: int


CONTESTS: dict[str, Contest] = {}


def contest(
    name: str, title: str, *, ours: str, aim_ms: float | None = None, rounds: int = 10
) -> Callable[[Preparation], Preparation]:
    """Add the function below it to those that are measured."""

    def add(prepare: Preparation) -> Preparation:
        CONTESTS[name] = Contest(name, title, prepare, ours, aim_ms, rounds)
        return prepare

    return add


def run_contest(asked: Contest, rounds: int, results: Results) -> None:
    """Run each entrant once unseen, for the caches, then in turn; one that fails is left out and said to have."""
    results.failures[asked.name] = {}
    with scratch_folder() as scratch, asked.prepare(scratch) as entrants:
        for number in range(rounds + 1):
            for name in _turned(list(entrants), number):
                try:
                    took = _time(entrants[name])
                except (Failed, OSError, AssertionError) as error:
                    del entrants[name]
                    results.add_failure(asked.name, name, str(error))
                    continue
                if number > 0:
                    results.add(asked.title, name, took)


def _turned(names: list[str], number: int) -> Iterator[str]:
    turn = number % max(len(names), 1)
    yield from names[turn:] + names[:turn]


def _time(action: Action) -> float:
    started = time.perf_counter()
    undo = action()
    took = time.perf_counter() - started
    if callable(undo):
        undo()
    return took
