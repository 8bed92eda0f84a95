"""`--filter` of containers, volumes and networks: KEY=VALUE, as often as one likes."""

import re
from collections.abc import Callable, Mapping, Sequence

from runtime.cli.moments import parse_moment
from runtime.cli.options import Option
from runtime.errors import UsageError

PRUNE_FILTER = Option("filter", "only those with label=, without label!= or made before until=", "", "KEY=VALUE")


def read_filters(texts: Sequence[str], known: Sequence[str]) -> list[tuple[str, str]]:
    """Keys, of those `known`, and values. Raises UsageError."""
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in known or not equals:
            raise UsageError(f"unknown filter {text!r}: there are {', '.join(known)}")
        found.append((key, value))
    return found


def has_label(labels: Mapping[str, str], text: str) -> bool:
    """Whether a label is there, and if `text` is KEY=VALUE has that value."""
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)


def has_name(name: str, text: str) -> bool:
    """Whether a name is what `name=` asks for: a regular expression for a part of it; one that is none, a part."""
    try:
        return re.search(text, name) is not None
    except re.error:
        return text in name


def matches(filters: Sequence[tuple[str, str]], is_so: Callable[[str, str], bool]) -> bool:
    """Whether something is what every key asks for: values of one key are alternatives, but it must have all labels."""
    for key in {key for key, _ in filters}:
        results = [is_so(key, value) for name, value in filters if name == key]
        if not (all(results) if key == "label" else any(results)):
            return False
    return True


def read_prune_filters(texts: Sequence[str]) -> Callable[[Mapping[str, str], float], bool]:
    """Whether something with these labels, made at that second, may be removed. Raises UsageError."""
    found = read_filters(texts, ("label", "label!", "until"))
    moments = [parse_moment("filter until", value) / 1e9 for key, value in found if key == "until"]

    def wanted(labels: Mapping[str, str], made_s: float) -> bool:
        if any(made_s >= moment for moment in moments):
            return False
        return all(has_label(labels, value) == (key == "label") for key, value in found if key != "until")

    return wanted
