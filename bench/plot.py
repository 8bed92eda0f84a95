"""Plots as SVG, written by hand: ratios of all workloads, times over the number of layers, container starts."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench import phases
from bench.contest import CONTESTS
from bench.mounts import OURS, OVERLAY, SYSTEMS
from bench.report import median_of
from bench.results import Results
from bench.workload import WORKLOADS, Row
from bench.workloads.layers import COUNTS, FLAT_ROWS, flat_row

_COLOURS = {
    OVERLAY: "#333333",
    OURS: "#d1495b",
    "fuse-overlayfs": "#2e6f95",
    "unionfs-fuse": "#9bbfd0",
    "mergerfs": "#e0a458",
}
_OTHER = "#b5b5b5"
_LINE = 18
_LEFT, _WIDTH, _RIGHT = 330, 520, 40


class Drawing:
    """Elements of a picture; `save` writes it as high as it has become."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._elements: list[str] = []

    def text(self, x: float, y: float, words: str, anchor: str = "start", colour: str = "#222222") -> None:
        """Words with their baseline at y."""
        style = f'text-anchor="{anchor}" fill="{colour}"'
        self._elements.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>')

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1) -> None:
        """Straight lines from point to point."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f'fill="none" stroke="{colour}" stroke-width="{width}"'
        self._elements.append(f'<polyline points="{places}" {style}/>')

    def dot(self, x: float, y: float, colour: str, radius: float = 4) -> None:
        """A disc."""
        self._elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def bar(self, x: float, y: float, width: float, colour: str) -> None:
        """A bar from x to the right, as high as a line of text."""
        size = f'width="{max(width, 1):.1f}" height="12"'
        self._elements.append(f'<rect x="{x:.1f}" y="{y - 10:.1f}" {size} fill="{colour}"/>')

    def legend(self, y: float, names: Sequence[str]) -> None:
        """A dot and a name for each column."""
        for number, name in enumerate(names):
            self.dot(20 + number * 150, y - 4, colour_of(name))
            self.text(30 + number * 150, y, name)

    def save(self, path: Path, height: float) -> None:
        """Write the file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width}" height="{height:.0f}" '
            f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        )
        path.write_text("\n".join([head, *self._elements, "</svg>", ""]))


def write_all(results: Results, folder: Path) -> None:
    """Draw what there are figures for."""
    ratios(results, folder / "ratios.svg")
    layers(results, folder / "layers.svg")
    if (start := CONTESTS["start"].title) in results.figures:
        bars(results, start, folder / "start.svg")
    if phases.ROW in results.figures:
        stacked(results, folder / "phases.svg")


def colour_of(column: str) -> str:
    """The same one in every picture."""
    return _COLOURS.get(column, _OTHER)


def ratios(results: Results, path: Path) -> None:
    """A line for each workload, a dot for each filesystem, on a logarithmic scale from 1/4 to 32; the aim is a tick."""
    rows = [row for workload in WORKLOADS.values() for row in workload.rows if row.unit == "ratio"]
    rows = [row for row in rows if median_of(results, row, OURS) and workload_is_plain(row)]
    drawing = Drawing(_LEFT + _WIDTH + _RIGHT)
    columns = [name for name in _COLOURS if name in SYSTEMS]
    drawing.legend(20, columns)
    bottom = 60 + len(rows) * _LINE
    for power in range(-2, 6):
        x = _ratio_x(2.0**power)
        drawing.line([(x, 44), (x, bottom)], "#333333" if power == 0 else "#e0e0e0")
        drawing.text(x, 40, f"{2.0**power:g}", "middle")
    for number, row in enumerate(rows):
        y = 62 + number * _LINE
        drawing.text(_LEFT - 10, y + 4, row.name, "end")
        if row.aim:
            x = _ratio_x(row.aim)
            drawing.line([(x, y - 7), (x, y + 7)], colour_of(OURS), 2)
        for column in reversed(columns[1:]):
            if ratio := median_of(results, row, column):
                drawing.dot(_ratio_x(ratio), y, colour_of(column), 5 if column == OURS else 4)
    drawing.save(path, bottom + 10)


def workload_is_plain(row: Row) -> bool:
    """Whether it isn't one of those that differ in the number of layers alone."""
    return "layer" not in row.name


def _ratio_x(ratio: float) -> float:
    power = min(max(math.log2(ratio), -2), 5)
    return _LEFT + (power + 2) / 7 * _WIDTH


def layers(results: Results, path: Path) -> None:
    """Four small plots: milliseconds, on a logarithmic scale, over the number of layers."""
    columns = [name for name in (OVERLAY, "fuse-overlayfs", OURS) if name in SYSTEMS]
    drawing = Drawing(900)
    drawing.legend(20, columns)
    for number, what in enumerate(FLAT_ROWS):
        left, top = 60 + number % 2 * 440, 50 + number // 2 * 220
        drawing.text(left, top, f"{what}, ms")
        for power in range(5):
            y = _layers_y(top, 10.0**power)
            drawing.line([(left, y), (left + 360, y)], "#e0e0e0")
            drawing.text(left - 6, y + 4, f"{10**power}", "end")
        for place, count in enumerate(COUNTS):
            drawing.text(left + 20 + place * 105, top + 185, f"{count} layer{'s' if count > 1 else ''}", "middle")
        for column in columns:
            found = [(place, results.summary(flat_row(what, count), column)) for place, count in enumerate(COUNTS)]
            points = [(left + 20 + place * 105, _layers_y(top, value.median * 1000)) for place, value in found if value]
            drawing.line(points, colour_of(column), 2)
            for point in points:
                drawing.dot(*point, colour_of(column))
    drawing.save(path, 50 + 2 * 220)


def _layers_y(top: float, milliseconds: float) -> float:
    power = min(max(math.log10(milliseconds), 0), 4)
    return top + 165 - power / 4 * 150


def stacked(results: Results, path: Path) -> None:
    """The phases of a container's start, one after another on a line of milliseconds."""
    found = [(name, results.summary(phases.ROW, name)) for name in phases.PHASES]
    total = sum(summary.median for _, summary in found if summary)
    drawing = Drawing(_LEFT + _WIDTH + 60)
    begin = 0.0
    for number, (name, summary) in enumerate(found):
        if summary:
            y = 24 + number * 22
            drawing.text(_LEFT - 10, y, name, "end")
            drawing.bar(_LEFT + begin / total * _WIDTH, y, summary.median / total * _WIDTH, colour_of(OURS))
            begin += summary.median
            drawing.text(_LEFT + begin / total * _WIDTH + 6, y, f"{summary.median * 1000:.0f} ms")
    drawing.save(path, 24 + len(found) * 22)


def bars(results: Results, row: str, path: Path) -> None:
    """A bar for each column of a row, with its quartiles."""
    found = [(results.summary(row, name), name) for name in results.figures[row]]
    entries = sorted((summary, name) for summary, name in found if summary)
    longest = max(summary.high for summary, _ in entries)
    drawing = Drawing(_LEFT + _WIDTH + 60)
    for number, (summary, name) in enumerate(entries):
        y = 24 + number * 22
        scale = _WIDTH / longest
        drawing.text(_LEFT - 10, y, name, "end")
        drawing.bar(_LEFT, y, summary.median * scale, colour_of(OURS) if name.startswith("pyunion") else "#2e6f95")
        drawing.line([(_LEFT + summary.low * scale, y - 4), (_LEFT + summary.high * scale, y - 4)], "#333333")
        drawing.text(_LEFT + summary.high * scale + 6, y, f"{summary.median * 1000:.0f} ms")
    drawing.save(path, 24 + len(entries) * 22)
