"""Runs the machine: shortly in the test suite, and with `make fuzz` for as long as one likes."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.differential import machine
from tests.differential.actors import CALLS
from tests.support import needs

pytestmark = [needs.root]

EXAMPLES = int(os.environ.get("PYUNION_FUZZ_EXAMPLES", "0"))

SETTINGS = settings(
    max_examples=EXAMPLES or 8,
    stateful_step_count=50,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

for kind in (
    machine.Differential,
    machine.Layered,
    machine.Metacopy,
    machine.CopyingRename,
    machine.UserXattr,
    machine.OnRamfs,
    machine.OnOverlay,
    machine.OnOurs,
    machine.OnOursWithoutXattrs,
):
    kind.TestCase.settings = SETTINGS
    globals()[f"Test{kind.__name__}"] = kind.TestCase


def test_every_call_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs last. A machine that compares nothing would find nothing."""
    if EXAMPLES:
        with capsys.disabled():
            print(f"\n{machine.CALLS_MADE.total()} calls compared: {dict(machine.CALLS_MADE.most_common())}")
    elif machine.CALLS_MADE:
        assert machine.CALLS_MADE.total() > 500
        assert set(CALLS) - set(machine.CALLS_MADE) <= {"close"}
