"""What a check found."""

import os
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of the report."""

    about: str
    state: Literal["ok", "less", "missing"]
    """less: something else is done instead. missing: unions or containers don't work for want of it."""
    fact: str
    remedy: str = ""
    """What to do about it; of all that isn't ok."""


def ok(about: str, fact: str) -> Finding:
    return Finding(about, "ok", fact)


def less(about: str, fact: str, remedy: str) -> Finding:
    return Finding(about, "less", fact, remedy)


def missing(about: str, fact: str, remedy: str) -> Finding:
    return Finding(about, "missing", fact, remedy)


def reason(error: OSError) -> str:
    """Why, in a few words."""
    return error.strerror or os.strerror(error.errno or 0)
