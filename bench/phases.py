"""Where the time of a container's start goes, by the kernel's record of processes forked, started and ended."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.results import Results
from bench.tracing import tracer
from bench.workload import Failed

ROW = "phases of pyunion run"
PHASES = (
    "interpreter, imports",
    "options, image, records beside monitor and driver; namespaces, mounts",
    "the command",
    "removal, until it returns",
)
_KINDS = ("fork", "exec", "exit")
_EVENT = re.compile(r" (\d+\.\d+): sched_process_(\w+): (.*)")
_FIELD = re.compile(r"(\w+)=(\S+)")


def measure(command: Sequence[str | Path], inner: str, rounds: int, results: Results) -> None:
    """Run `command`, which has a container run the program `inner`, and note its phases; nothing where it can't."""
    events = tuple(f"sched/sched_process_{kind}" for kind in _KINDS)
    with tracer(f"pyunion-bench-phases-{os.getpid()}", *events) as trace:
        for _ in range(rounds if trace else 0):
            assert trace is not None
            trace.start()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            process.wait()
            times = _marks(trace.stop(), str(process.pid), inner)
            for phase, begin, end in zip(PHASES, times, times[1:], strict=False):
                results.add(ROW, phase, end - begin)


def _marks(lines: Iterable[str], pid: str, inner: str) -> list[float]:
    """When the program started, forked first, its container's command started, ended; and when the program ended."""
    events = list(_events(lines))
    child = next((fields["pid"] for _, kind, fields in events if kind == "exec" and _runs(fields, inner)), "")
    marks = []
    for kind, process in (("exec", pid), ("fork", pid), ("exec", child), ("exit", child), ("exit", pid)):
        found = [when for when, seen, fields in events if seen == kind and fields.get("pid") == process]
        if not found:
            raise Failed(f"no {kind} of process {process} was recorded")
        marks.append(found[0])
    return marks


def _events(lines: Iterable[str]) -> Iterator[tuple[float, str, dict[str, str]]]:
    for line in lines:
        if match := _EVENT.search(line):
            yield float(match[1]), match[2], dict(_FIELD.findall(match[3]))


def _runs(fields: dict[str, str], program: str) -> bool:
    return fields["filename"].rpartition("/")[2] == program
