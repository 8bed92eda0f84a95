"""Running workloads: rounds in turn, every mount fresh, the order of the mounts turned each round."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.mounts import COUNTED, Mount, System
from bench.requests import RequestCounter, request_counter
from bench.results import Results
from bench.stacks import Stack
from bench.workload import Failed, Place, Workload

_FEW_ROUNDS = 3
_FEWER_ROUNDS = 2
_NOISY = 2


class Plan(NamedTuple):
    """How much is measured: `rounds` of each workload; fewer of costly ones and of what is no yardstick."""

    systems: Sequence[System]
    rounds: int
    quick: bool


class Run:
    """One workload on all filesystems that it suits."""

    def __init__(self, workload: Workload, plan: Plan, results: Results) -> None:
        self._workload = workload
        self._plan = plan
        self._results = results
        self._systems = [system for system in plan.systems if workload.suits(system)]
        self._seen: dict[str, object] = {}      # what it returned, by the filesystem's name

    def run(self) -> None:
        """Count requests, then take times. One that fails, or does other work than the first, is left out."""
        self._results.failures[self._workload.name] = {}
        stack = self._workload.stack()
        with request_counter() as counter:
            counted = COUNTED[:1] if self._workload.costly else COUNTED
            for system in self._systems[:1] + [system for system in self._systems[1:] if system.name in counted]:
                self._once(system, stack, counter, is_timed=False)
        for number in range(max(map(self._rounds_on, self._systems), default=0)):
            turn = number % max(len(self._systems), 1)
            for system in [*self._systems[turn:], *self._systems[:turn]]:
                if number < self._rounds_on(system):
                    self._once(system, stack, None, is_timed=True)

    def _rounds_on(self, system: System) -> int:
        if self._workload.noisy and self._plan.rounds > 1:
            return self._plan.rounds * _NOISY
        few, fewest = (_FEW_ROUNDS, 1) if self._workload.costly else (self._plan.rounds, _FEWER_ROUNDS)
        return min(self._plan.rounds, few if system.is_yardstick else fewest)

    def _once(self, system: System, stack: Stack, counter: RequestCounter | None, *, is_timed: bool) -> None:
        try:
            place = self._on_fresh_mount(system, stack, counter)
        except (Failed, OSError, AssertionError) as error:
            self._systems.remove(system)
            self._results.add_failure(self._workload.name, system.name, f"{type(error).__name__}: {error}")
            return
        for row, requests in place.requests.items() if system.name in COUNTED else ():
            self._results.add_requests(row, system.name, requests)
        for row, figure in place.figures.items() if is_timed else ():
            self._results.add(row, system.name, figure)

    def _on_fresh_mount(self, system: System, stack: Stack, counter: RequestCounter | None) -> Place:
        with scratch_folder() as scratch, Mount(system, stack, scratch / "mount", self._workload.prepare) as mount:
            place = Place(mount, scratch, counter, self._plan.quick)
            result = self._workload.run(place)
        self._seen.setdefault(system.name, result)
        first = next(iter(self._seen))
        if result != self._seen[first]:
            raise Failed(f"other work than {first}: {_difference(result, self._seen[first])}")
        return place


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder on disk (TMPDIR, or /var/tmp), removed afterwards."""
    folder = tempfile.mkdtemp(prefix="pyunion-bench-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    try:
        yield Path(folder)
    finally:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        below = [point for line in mounts if (point := line.split(" ")[4]).startswith(f"{folder}/")]
        for point in reversed(below):
            subprocess.run(["umount", "--lazy", point], check=True)     # podman leaves one of its own
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


def _difference(one: object, two: object) -> str:
    """Where two results differ, in a line."""
    if isinstance(one, list) and isinstance(two, list):
        return f"more {sorted(set(one) - set(two))[:3]}, less {sorted(set(two) - set(one))[:3]}"
    return f"{str(one)[:100]}, not {str(two)[:100]}"
