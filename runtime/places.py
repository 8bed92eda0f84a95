"""Where containers are kept: `root` for what outlives a reboot, `runroot` for what must not."""

import os
from typing import NamedTuple

_ID_LENGTH = 64
_ID_DIGITS = "0123456789abcdef"


class Places(NamedTuple):
    """Two absolute directories; see default_places() for where they are unless told otherwise."""

    root: str
    runroot: str


def names_in(directory: str) -> list[str]:
    """What is in `directory`: nothing if it is absent."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def identities(directory: str) -> list[str]:
    """The ids of containers that have something in `directory`.

    All else in it is left alone: --runroot may name a directory that holds other people's files.
    """
    return [name for name in names_in(directory) if len(name) == _ID_LENGTH and not name.strip(_ID_DIGITS)]


def default_places() -> Places:
    """/var/lib and /run for root; an ordinary user's own directories otherwise."""
    if os.geteuid() == 0:
        return Places("/var/lib/pyunion", "/run/pyunion")
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    run = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/pyunion-{os.geteuid()}"
    return Places(f"{home}/pyunion", f"{run}/pyunion" if "XDG_RUNTIME_DIR" in os.environ else run)
