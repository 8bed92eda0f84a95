"""How lists, times and sizes are shown."""

import datetime
import time
from collections.abc import Sequence

from runtime.errors import one_line

_UNITS = (("second", 60), ("minute", 60), ("hour", 24), ("day", 7), ("week", 52), ("year", 10**9))
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


def ago(moment: object) -> str:
    """How long ago a time of an image was; N/A if it has none."""
    try:
        seconds = datetime.datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return "N/A"
    count = max(0, int(time.time() - seconds))
    units = iter(_UNITS)
    unit, size = next(units)
    while count >= size:
        count //= size
        unit, size = next(units)
    return f"{count} {unit}{'' if count == 1 else 's'} ago"
