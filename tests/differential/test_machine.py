"""Runs the machine: shortly in the test suite, and with `make fuzz` for as long as one likes."""

import os

from hypothesis import HealthCheck, settings

from tests.differential import machine
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
