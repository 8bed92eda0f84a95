"""Ids of this machine that are given to users for namespaces of theirs: /etc/subuid and /etc/subgid, subuid(5)."""

from collections.abc import Iterator
from typing import NamedTuple

FILES = ("/etc/subuid", "/etc/subgid")


class Range(NamedTuple):
    """One line."""

    owner: str
    """A user's name or number."""
    first: int
    size: int
    """How many ids."""


def ranges(path: str) -> Iterator[Range]:
    """What such a file says; nothing if it can't be read. Lines that make no sense are left out, as shadow does."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.strip().split(":") for line in file]
    except OSError:
        return
    for row in rows:
        if len(row) == 3 and row[1].isdigit() and row[2].isdigit():
            yield Range(row[0], int(row[1]), int(row[2]))
