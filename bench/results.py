"""What was measured: figures by row and column, and what is said of them."""

import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench.mounts import OVERLAY


class Summary(NamedTuple):
    """A median, and the quartiles about it."""

    median: float
    low: float
    high: float


class Results:
    """Figures by row and column, one for each round, in seconds or bytes; requests and failures the same way."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, list[float]]] = {}
        self.requests: dict[str, dict[str, dict[str, int]]] = {}
        self.failures: dict[str, dict[str, str]] = {}       # by workload, not row
        self.measured: dict[str, str] = {}                  # when, by row
        self.machine = _machine()

    def add(self, row: str, column: str, figure: float) -> None:
        """Put in what a round measured."""
        self.figures.setdefault(row, {}).setdefault(column, []).append(figure)
        self.measured[row] = time.strftime("%Y-%m-%d %H:%M")

    def add_requests(self, row: str, column: str, requests: Counter[str]) -> None:
        """Put in what a counting round saw."""
        self.requests.setdefault(row, {})[column] = dict(requests.most_common())

    def add_failure(self, workload: str, column: str, reason: str) -> None:
        """Note why a workload has no figures there."""
        self.failures.setdefault(workload, {})[column] = reason
        print(f"{workload} on {column}: {reason}", file=sys.stderr)

    def summary(self, row: str, column: str) -> Summary | None:
        """The figures themselves."""
        values = self.figures.get(row, {}).get(column)
        return summarize(values) if values else None

    def ratio(self, row: str, column: str, base: str = OVERLAY) -> Summary | None:
        """The figures as parts of `base`'s of the same round: what disturbs both then counts for neither."""
        row_figures = self.figures.get(row, {})
        if not row_figures.get(column) or not row_figures.get(base):
            return None
        return summarize([one / other for one, other in zip(row_figures[column], row_figures[base], strict=False)])

    def save(self, path: Path, *, keeping: bool) -> None:
        """Write them into a file; `keeping` the rows that are there and were not measured now."""
        kept = vars(Results.load(path)) if keeping and path.exists() else {}
        mine = vars(self)
        merged = {name: kept.get(name, {}) | value for name, value in mine.items()}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(_rounded(merged), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` wrote."""
        results = cls()
        vars(results).update(json.loads(path.read_text()))
        return results


def summarize(values: list[float]) -> Summary:
    """Median and quartiles; of fewer than three values the quartiles are the extremes."""
    if len(values) < 3:
        return Summary(statistics.median(values), min(values), max(values))
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(middle, low, high)


def _machine() -> dict[str, str]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{os.cpu_count()} × {model}",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"Linux {platform.release()}",
        "python": platform.python_version(),
    }


def _rounded(value: object) -> object:
    """Figures to six digits, so that the file stays small."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
