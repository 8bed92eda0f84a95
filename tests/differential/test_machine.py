"""Runs the machine: shortly in the test suite, and with `make fuzz` for as long as one likes."""

import os

from hypothesis import HealthCheck, settings

from tests.differential.machine import Differential, Layered, Metacopy
from tests.support import needs

pytestmark = [needs.root]

EXAMPLES = int(os.environ.get("PYUNION_FUZZ_EXAMPLES", "0"))

SETTINGS = settings(
    max_examples=EXAMPLES or 15,
    stateful_step_count=50,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

TestDifferential = Differential.TestCase
TestDifferential.settings = SETTINGS
TestLayered = Layered.TestCase
TestLayered.settings = SETTINGS
TestMetacopy = Metacopy.TestCase
TestMetacopy.settings = SETTINGS
