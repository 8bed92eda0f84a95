"""Runs the machine: shortly in the test suite, and with `make fuzz` for as long as one likes."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.differential import machine
from tests.support import needs

pytestmark = [needs.root]

EXAMPLES = int(os.environ.get("PYUNION_FUZZ_EXAMPLES", "0"))

# examples of each in `make test`
KINDS = {
    machine.Differential: 5,
    machine.Layered: 3,
    machine.Metacopy: 3,
    machine.CopyingRename: 2,
    machine.UserXattr: 2,
    machine.OnRamfs: 2,
    machine.OnOverlay: 2,
    machine.OnOurs: 2,
    machine.OnOursWithoutXattrs: 2,
}

for kind, examples in KINDS.items():
    kind.TestCase.settings = settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=50,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    globals()[f"Test{kind.__name__}"] = kind.TestCase


def test_every_call_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs last. A machine that compares nothing would find nothing."""
    if EXAMPLES:
        with capsys.disabled():
            print(f"\n{machine.CALLS_MADE.total()} calls compared: {dict(machine.CALLS_MADE.most_common())}")
    elif machine.CALLS_MADE:
        assert machine.CALLS_MADE.total() > 500
