"""What was measured: figures by row and column, and what is said of them."""

import statistics
import sys
from collections import Counter
from typing import NamedTuple

from bench.mounts import OVERLAY


class Summary(NamedTuple):
    """A median, and the quartiles about it."""

    median: float
    low: float
    high: float


class Results:
    """Figures of one run: `figures[row][column]` has one for each round, in that row's unit."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, list[float]]] = {}
        self.requests: dict[str, dict[str, Counter[str]]] = {}
        self.failures: dict[str, dict[str, str]] = {}

    def add(self, row: str, column: str, figure: float) -> None:
        """Put in what a round measured."""
        self.figures.setdefault(row, {}).setdefault(column, []).append(figure)

    def add_requests(self, row: str, column: str, requests: Counter[str]) -> None:
        """Put in what a counting round saw."""
        self.requests.setdefault(row, {})[column] = requests

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


def summarize(values: list[float]) -> Summary:
    """Median and quartiles; of fewer than three values the quartiles are the extremes."""
    if len(values) < 3:
        return Summary(statistics.median(values), min(values), max(values))
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(middle, low, high)
