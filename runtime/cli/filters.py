"""`--filter` of `ps` and `events`: KEY=VALUE, as often as one likes."""

from collections.abc import Mapping, Sequence

from runtime.errors import UsageError


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
