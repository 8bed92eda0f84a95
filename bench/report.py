"""Results as tables of Markdown, put into a page between its marks."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import phases
from bench.contest import CONTESTS, Contest
from bench.mounts import COUNTED, OURS, OVERLAY, SHARED, SYSTEMS
from bench.results import Results, Summary
from bench.workload import WORKLOADS, Row

PAGE = Path("docs/performance.md")
FIGURES = Path("docs/performance/results.json")
_BEGIN, _END = "<!-- {} -->", "<!-- end of {} -->"

GROUPS = {
    "metadata": "Names, attributes, small files",
    "programs": "Programs",
    "data": "Large files",
    "layers": "Many layers, huge directories",
    "driver": "The process that serves",
}
"""Titles of the tables, by the module of the workloads in them."""
_SCALE = {"ms": 1000, "MB": 1e-6, "bytes": 1}


def write_page(results: Results, page: Path) -> None:
    """Replace what stands between the marks `figures` and `machine` of a page."""
    text = page.read_text()
    for name, new in (("machine", machine(results)), ("figures", everything(results))):
        begin, end = _BEGIN.format(name), _END.format(name)
        text = re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n{new}\n{end}", text, flags=re.S)  # noqa: B023
    page.write_text(text)


def machine(results: Results) -> str:
    """What was measured on, in a paragraph."""
    found = results.machine
    days = sorted({when.partition(" ")[0] for when in results.measured.values()})
    span = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "never"
    return f"{found['processor']}, {found['memory']}; {found['kernel']}, Python {found['python']}; measured {span}."


def everything(results: Results) -> str:
    """All tables, each under its title."""
    columns = [name for name in SYSTEMS if any(name in row for row in results.figures.values())]
    parts = []
    for group, title in GROUPS.items():
        rows = [row for workload in WORKLOADS.values() if workload.group == group for row in workload.rows]
        if any(row.name in results.figures for row in rows):
            parts.append(f"### {title}\n\n{table(results, rows, columns)}")
    contests = [contest for contest in CONTESTS.values() if contest.title in results.figures]
    parts += [f"### {_capital(contest.title)}\n\n{contest_table(results, contest)}" for contest in contests]
    if phases.ROW in results.figures:
        parts.append(f"### {_capital(phases.ROW)}\n\n{phases_table(results)}")
    if results.requests:
        parts.append(f"### Requests\n\n{requests_table(results)}")
    if any(results.failures.values()):
        parts.append(f"### Left out\n\n{failures(results)}")
    return "\n\n".join(parts)


def table(results: Results, rows: Iterable[Row], columns: Sequence[str]) -> str:
    """A line for each row that was measured: overlayfs's own time, the ratios of others to it, what is aimed at."""
    shown = [row for row in rows if row.name in results.figures]
    columns = [name for name in columns if any(name in results.figures[row.name] for row in shown)]
    lines = [["", *columns, "aim", "reached", "ahead of peers"]]
    for row in shown:
        cells = [_cell(results, row, column) for column in columns]
        lines.append([row.name, *cells, _aim(row), _is_reached(results, row), _is_ahead(results, row)])
    return _markdown(lines)


def contest_table(results: Results, contest: Contest) -> str:
    """A line for each entrant, the quickest first."""
    lines = [["", "ms", f"to {contest.ours}", "aim"]]
    found = [(results.summary(contest.title, name), name) for name in results.figures[contest.title]]
    for summary, name in sorted((summary, name) for summary, name in found if summary):
        ratio = results.ratio(contest.title, name, contest.ours)
        aim = f"≤ {contest.aim_ms:g}" if contest.aim_ms and name == contest.ours else ""
        lines.append([name, _spread(summary, 1000, 1), f"{ratio.median:.2f}" if ratio else "", aim])
    return _markdown(lines)


def phases_table(results: Results) -> str:
    """How long each phase takes."""
    found = ((name, results.summary(phases.ROW, name)) for name in phases.PHASES)
    return _markdown([["", "ms"], *([name, _spread(summary, 1000, 1)] for name, summary in found if summary)])


def requests_table(results: Results) -> str:
    """How many requests each row sent, and of which kinds ours."""
    lines = [["", *COUNTED, f"of {OURS}'s"]]
    rows = [row.name for workload in WORKLOADS.values() for row in workload.rows]
    for row in [row for row in rows if row in results.requests]:
        columns = results.requests[row]
        totals = [str(sum(columns[name].values())) if name in columns else "" for name in COUNTED]
        kinds = Counter(columns.get(OURS, {})).most_common(6)
        lines.append([row, *totals, ", ".join(f"{name} {count}" for name, count in kinds)])
    return _markdown(lines)


def failures(results: Results) -> str:
    """What was not measured, and why."""
    found = ((name, column, reason) for name, row in results.failures.items() for column, reason in row.items())
    return "\n".join(f"- {name} on {column}: `{' '.join(reason.split())[:200]}`" for name, column, reason in found)


def _cell(results: Results, row: Row, column: str) -> str:
    summary = results.summary(row.name, column)
    if summary is None:
        return ""
    if row.unit != "ratio":
        return _spread(summary, _SCALE[row.unit], 0 if row.unit == "bytes" else 1)
    ratio = results.ratio(row.name, column)
    return f"{summary.median * 1000:.1f} ms" if column == OVERLAY or ratio is None else _spread(ratio, 1, 2)


def _spread(summary: Summary, scale: float, digits: int) -> str:
    median, low, high = (f"{value * scale:.{digits}f}" for value in summary)
    return f"{median} ({low}–{high})"


def _aim(row: Row) -> str:
    if row.aim is None:
        return ""
    unit = "" if row.unit == "ratio" else f" {row.unit}"
    return f"≤ {row.aim:g}{unit}" + (f", shared ≤ {row.shared_aim:g}" if row.shared_aim else "")


def _is_reached(results: Results, row: Row) -> str:
    said = [_is_at_most(results, row, OURS, row.aim), _is_at_most(results, row, SHARED, row.shared_aim)]
    return ", ".join(filter(None, said))


def _is_at_most(results: Results, row: Row, column: str, aim: float | None) -> str:
    median = median_of(results, row, column)
    if aim is None or median is None:
        return ""
    return "yes" if median <= aim else "**no**"


def _is_ahead(results: Results, row: Row) -> str:
    """Whether ours takes less than the best of the unions in userspace."""
    ours = median_of(results, row, OURS)
    peers = [median_of(results, row, name) for name, system in SYSTEMS.items() if system.kind == "peer"]
    others = [value for value in peers if value is not None]
    if ours is None or not others:
        return ""
    return "yes" if ours < min(others) else "**no**"


def median_of(results: Results, row: Row, column: str) -> float | None:
    """The figure of a cell, in the row's unit."""
    if row.unit == "ratio":
        ratio = results.ratio(row.name, column)
        return ratio.median if ratio else None
    summary = results.summary(row.name, column)
    return summary.median * _SCALE[row.unit] if summary else None


def _markdown(lines: list[list[str]]) -> str:
    ruler = ["---", *["--:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], ruler, *lines[1:]])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
