"""Waiting for what other processes do: a condition is asked again and again, and the test fails if it never holds."""

import time
from collections.abc import Callable

DEADLINE_S = 30
"""Far more than anything takes that is waited for, on a machine that is busy."""
_PAUSE_S = 0.005


def wait_for(what: str, condition: Callable[[], object]) -> None:
    """Return when `condition` holds. Raises AssertionError: it doesn't in time, and `what` was waited for."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {DEADLINE_S} s"
        time.sleep(_PAUSE_S)
