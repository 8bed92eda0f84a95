"""Results as tables of Markdown."""

from collections.abc import Iterable, Sequence

from bench.mounts import OVERLAY
from bench.results import Results
from bench.workload import Row


def table(results: Results, rows: Iterable[Row], columns: Sequence[str]) -> str:
    """A line for each row that was measured: kernel overlayfs's time, ratios to it, the aim."""
    header = ["workload", f"{OVERLAY}", *(column for column in columns if column != OVERLAY), "aim"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        if row.name in results.figures:
            lines.append([row.name, *_cells(results, row, header[1:-1]), _aim(row)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(results: Results, row: Row, columns: Sequence[str]) -> list[str]:
    cells = []
    for column in columns:
        ratio = results.ratio(row.name, column)
        value = results.summary(row.name, column)
        if row.unit == "ratio" and column != OVERLAY and ratio:
            cells.append(f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})")
        else:
            cells.append(f"{value.median * 1000:.1f} ms" if value else "–")
    return cells


def _aim(row: Row) -> str:
    return "" if row.aim is None else f"≤ {row.aim:g}"


def requests_table(results: Results, column: str) -> str:
    """How many requests of which kind each row sent."""
    lines = [["workload", "requests", "of them"], ["---", "--:", "---"]]
    for row, columns in results.requests.items():
        if column in columns:
            counts = columns[column]
            shown = ", ".join(f"{name} {count}" for name, count in counts.most_common(6))
            lines.append([row, str(counts.total()), shown])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
