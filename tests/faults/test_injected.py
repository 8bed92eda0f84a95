"""Every system call of every verb fails once, and the process dies before it once: the tree is as before or as after.

The kernel hands each call of the verb's process to the test, which lets it be made, answers with an error, or kills.
Then the same process must go on as if nothing had been, a new one must find the tree as before or as after without
debris, and kernel overlayfs must see the same.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential import filesystems
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import ALL, Trial
from tests.support import needs

pytestmark = [needs.root, pytest.mark.timeout(600)]

LEAST_FAULTS = 500
SIMPLE = (
    "unlink a lower file",
    "unlink a copied-up file",
    "rmdir a lower directory",
    "rmdir a merged directory of whiteouts",
    "create a file over a whiteout",
    "mkdir over a whiteout",
    "rename a lower file over a lower one",
    "rename a lower file over a whiteout",
    "rename a symlink",
    "rename a lower directory",
    "rename a merged directory",
    "rename a lower directory over a whiteout",
    "rename a lower directory over an empty one",
)
"""Scenarios that change nothing which needs xattrs."""
_injected: dict[str, int] = {}


def inject_all(trial: Trial) -> int:
    """Inject each fault of the trial; their number. Raises AssertionError with what went wrong."""
    failures = []
    count = 0
    for known in (False,) if trial.is_poor and not ALL else (False, True):
        for fault in trial.faults(known=known):
            count += 1
            try:
                trial.inject(fault, known=known)
            except (AssertionError, OSError) as error:
                failures.append(f"{fault}{', all known' if known else ''}: {error!r}"[:1500])
    assert not failures, f"{len(failures)} of {count} faults:\n" + "\n".join(failures[:10])
    return count


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_failed_call_leaves_the_tree_as_before_or_as_after(place, name):
    _injected[name] = inject_all(Trial(place, SCENARIOS[name]))


@pytest.fixture(scope="module", params=["ramfs", "overlay", "ours_without_xattrs"])
def poor(request, place) -> Iterator[Path]:
    """A filesystem that lacks whiteout nodes, xattrs or flags of rename."""
    path: Path = place / request.param
    unmount = getattr(filesystems, request.param)(path)
    yield path
    unmount()


@pytest.mark.parametrize("name", SIMPLE)
def test_a_kill_between_calls_that_stand_for_one_leaves_the_tree_as_before_or_as_after(place, poor, name):
    """Where the upper's filesystem has no single call for it."""
    scenario = SCENARIOS[name]
    inject_all(Trial(place, scenario._replace(options={"dialect": "auto", **scenario.options}), poor))


def test_enough_faults_were_injected():
    if set(_injected) == set(SCENARIOS):  # a part of the tests may be run
        print(f"{sum(_injected.values())} faults in {len(_injected)} scenarios")
        assert sum(_injected.values()) >= LEAST_FAULTS
