"""The options that say how a container's health is looked after."""

from typing import Any

from runtime.cli.flags.process import number
from runtime.cli.options import Parsed
from runtime.errors import UsageError
from runtime.spans import parse_ns

_SPANS = {
    "health-interval": "Interval",
    "health-start-interval": "StartInterval",
    "health-start-period": "StartPeriod",
    "health-timeout": "Timeout",
}
_LEAST_NS = 10**6


def read(options: Parsed) -> dict[str, Any]:
    """What is said of it, as an image's configuration has it. Raises UsageError."""
    found: dict[str, Any] = {}
    if options.one("health-cmd"):
        found["Test"] = ["CMD-SHELL", options.one("health-cmd")]
    for option, key in _SPANS.items():
        if options.one(option):
            found[key] = _span(option, options.one(option))
    if options.one("health-retries"):
        found["Retries"] = number("health-retries", options.one("health-retries"), 1)
    if options.on("no-healthcheck"):
        if found:
            raise UsageError("conflicting options: --no-healthcheck and --health-…")
        return {"Test": ["NONE"]}
    return found


def merged(asked: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """What a container gets whose image says `image`. Raises UsageError: there is a setting, and no test."""
    found = {**image, **asked}
    if asked and not found.get("Test"):
        raise UsageError("--health-… options say how often, and nothing says what: give --health-cmd")
    return found


def _span(option: str, text: str) -> int:
    try:
        span_ns = parse_ns(text)
    except ValueError as error:
        raise UsageError(f"invalid --{option}: {error}") from None
    if 0 < span_ns < _LEAST_NS:
        raise UsageError(f"invalid --{option} {text!r}: it is at least 1ms")
    return span_ns
