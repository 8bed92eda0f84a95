"""Where containers are kept: `root` for what outlives a reboot, `runroot` for what must not."""

import os
from typing import NamedTuple


class Places(NamedTuple):
    """Two absolute directories; see default_places() for where they are unless told otherwise."""

    root: str
    runroot: str


def default_places() -> Places:
    """/var/lib and /run for root; an ordinary user's own directories otherwise."""
    if os.geteuid() == 0:
        return Places("/var/lib/pyunion", "/run/pyunion")
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    run = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/pyunion-{os.geteuid()}"
    return Places(f"{home}/pyunion", f"{run}/pyunion" if "XDG_RUNTIME_DIR" in os.environ else run)
