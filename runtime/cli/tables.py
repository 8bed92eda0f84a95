"""How lists, times and sizes are shown."""

import datetime
import time
from collections.abc import Sequence

from runtime.errors import one_line

_HOUR_S, _DAY_S = 3600, 86400
_SPANS = (
    (60, 1, "second"),
    (_HOUR_S, 60, "minute"),
    (2 * _DAY_S, _HOUR_S, "hour"),
    (14 * _DAY_S, _DAY_S, "day"),
    (60 * _DAY_S, 7 * _DAY_S, "week"),
    (730 * _DAY_S, 30 * _DAY_S, "month"),
    (float("inf"), 365 * _DAY_S, "year"),
)
"""As Docker counts: (seconds below which it is so, seconds of one, its name)."""
_SIZES = ("B", "kB", "MB", "GB", "TB")


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Rows in columns, the first being the head."""
    clean = [tuple(map(one_line, row)) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    for row in clean:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def size_text(size: int) -> str:
    """Bytes as Docker shows them: three digits, powers of a thousand."""
    value = float(size)
    for unit in _SIZES[:-1]:
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}{_SIZES[-1]}"


def span_text(moment_s: float) -> str:
    """How much time has gone by since a moment of this machine's clock."""
    seconds = max(0, int(time.time() - moment_s))
    size, name = next((size, name) for limit, size, name in _SPANS if seconds < limit)
    count = seconds // size
    return f"{count} {name}{'' if count == 1 else 's'}"


def ago(moment: object) -> str:
    """How long ago a time of an image was; N/A if it has none."""
    try:
        return f"{span_text(datetime.datetime.fromisoformat(str(moment)).timestamp())} ago"
    except ValueError:
        return "N/A"
