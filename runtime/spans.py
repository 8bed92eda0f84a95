"""Spans of time as people write them: 30s, 1m30s, 500ms."""

import re

_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_ns(text: str) -> int:
    """Nanoseconds. Raises ValueError."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} isn't a span of time, as in 30s or 1m30s")
    return sum(int(float(number) * _NS[unit]) for number, unit in parts)
