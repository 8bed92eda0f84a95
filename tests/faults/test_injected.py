"""Every system call of every verb fails once, and the process dies before it once: the tree is as before or as after.

The kernel hands each call of the verb's process to the test, which lets it be made, answers with an error, or kills.
Then the same process must go on as if nothing had been, a new one must find the tree as before or as after without
debris, and kernel overlayfs must see the same.
"""

import pytest

from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import Trial
from tests.support import needs

pytestmark = [needs.root, pytest.mark.timeout(600)]

LEAST_FAULTS = 500
_injected: dict[str, int] = {}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_failed_call_leaves_the_tree_as_before_or_as_after(place, name):
    trial = Trial(place, SCENARIOS[name])
    failures = []
    _injected[name] = 0
    for known in (False, True):
        for fault in trial.faults(known=known):
            _injected[name] += 1
            try:
                trial.inject(fault, known=known)
            except (AssertionError, OSError) as error:
                failures.append(f"{fault}{', all known' if known else ''}: {error!r}"[:1500])
    assert not failures, f"{len(failures)} of {_injected[name]} faults:\n" + "\n".join(failures[:10])


def test_enough_faults_were_injected():
    if set(_injected) == set(SCENARIOS):  # a part of the tests may be run
        print(f"{sum(_injected.values())} faults in {len(_injected)} scenarios")
        assert sum(_injected.values()) >= LEAST_FAULTS
