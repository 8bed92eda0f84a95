"""The moments that `--since` and `--until` name."""

import datetime
import re
import time
from contextlib import suppress

from runtime.errors import UsageError
from runtime.spans import parse_ns


def parse_moment(option: str, text: str) -> int:
    """RFC 3339, a date, seconds since 1970, or a time ago as 1h30m: nanoseconds since 1970. Raises UsageError."""
    if re.fullmatch(r"\d+(\.\d{1,9})?", text):
        seconds, _, rest = text.partition(".")
        return int(seconds) * 10**9 + int(rest.ljust(9, "0"))
    with suppress(ValueError):
        return time.time_ns() - parse_ns(text)
    try:
        moment = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        kinds = "a moment (RFC 3339), seconds since 1970, or 1h30m"
        raise UsageError(f"invalid --{option} {text!r}: it is {kinds}") from None
    return int(moment.timestamp() * 10**6) * 1000


def as_ns(timestamp: str) -> int:
    """A moment of a log, nanoseconds since 1970. Raises ValueError."""
    whole, _, rest = timestamp.removesuffix("Z").partition(".")
    seconds = datetime.datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return int(seconds) * 10**9 + int(rest.ljust(9, "0") or 0)
