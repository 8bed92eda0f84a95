"""The functions of templates: Go's own, and Docker's `json`, `join`, `split`, `upper`, `lower`, `title`, `truncate`."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runtime.errors import one_line

_CONTROLS = re.compile("[\x7f-\x9f]")
_VERB = re.compile(r"%([-+ 0#]*\d*(?:\.\d+)?)([a-zA-Z%])")


def is_true(value: Any) -> bool:
    """What Go takes for true: all but the empty and zero."""
    return bool(value)


def as_text(value: Any) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{as_text(key)}:{as_text(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(as_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def for_screen(text: str) -> str:
    """`text` without what a terminal would act on, if it goes to one: it may be a stranger's."""
    if sys.stdout is None or not sys.stdout.isatty():
        return text
    return "".join(one_line(char) if char not in "\n\t" else char for char in text)


def as_json(value: object, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    """Readable JSON; control characters beyond ASCII, which terminals act on, too, are escaped as those within are."""
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=False)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or isinstance(value, dict):
            value = (value or {}).get(key, "")
        elif isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise ValueError(f"there is no {as_text(key)}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    low, high = (*bounds, *(0, len(value))[len(bounds) :])
    if not 0 <= low <= high <= len(value):
        raise ValueError(f"{low} to {high} of {len(value)}")
    return value[low:high]


def _printf(form: str, *values: Any) -> str:
    rest = list(values)

    def verb(match: re.Match[str]) -> str:
        flags, letter = match.groups()
        if letter == "%":
            return "%"
        if not rest:
            raise ValueError("a value is missing")
        value = rest.pop(0)
        if letter in "sqvt":
            text = as_text(value)
            return f"%{flags}s" % (json.dumps(text, ensure_ascii=False) if letter == "q" else text)
        return str(f"%{flags}{letter}" % value)

    result = _VERB.sub(verb, form)
    if rest:
        raise ValueError("a value too much")
    return result


def _all(values: Iterable[Any]) -> Any:
    """The first that is false, or the last."""
    result = None
    for result in values:
        if not is_true(result):
            break
    return result


def _any(values: Iterable[Any]) -> Any:
    """The first that is true, or the last."""
    result = None
    for result in values:
        if is_true(result):
            break
    return result


def _print(*values: Any) -> str:
    return "".join(map(as_text, values))


def _println(*values: Any) -> str:
    return " ".join(map(as_text, values)) + "\n"


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "eq": lambda value, *others: value in others,
    "ge": lambda one, other: one >= other,
    "gt": lambda one, other: one > other,
    "index": _index,
    "join": lambda values, between: between.join(map(as_text, values or ())),
    "json": lambda value: as_json(value, separators=(",", ":")),
    "le": lambda one, other: one <= other,
    "len": lambda value: len(value or ()),
    "lower": lambda text: text.lower(),
    "lt": lambda one, other: one < other,
    "ne": lambda one, other: one != other,
    "not": lambda value: not is_true(value),
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": lambda text, between: text.split(between),
    "title": lambda text: text.title(),
    "truncate": lambda text, length: text[:length],
    "upper": lambda text: text.upper(),
}
LAZY: Mapping[str, Callable[[Iterable[Any]], Any]] = {"and": _all, "or": _any}
"""Those that look at their values only as far as they need."""
