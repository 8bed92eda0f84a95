"""What containers, volumes and networks may be called, and how much of their ids is shown: as with Docker."""

SHORT_ID = 12
"""Digits of an id, of 64, that do for people."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
RULE = "letters, digits and, after the first, any of '_.-' make one"
"""To end a complaint with."""


def is_name(text: str) -> bool:
    """Whether something may be called so."""
    return text != "" and set(text) <= _LETTERS and text[0] not in "_.-"
