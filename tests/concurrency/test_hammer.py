"""Eight processes on one mount: each knows what its own names must be, and all what holds for the shared ones."""

import os
import time
from functools import partial
from pathlib import Path

import pytest

from tests.concurrency import owned, shared, workers
from tests.concurrency.owned import Owner
from tests.concurrency.shared import Sharer
from tests.support import needs
from tests.support.tree import assert_same_tree, snapshot, with_plain_links

pytestmark = [needs.root, pytest.mark.timeout(400)]

PROCESSES = 8
FUZZED = bool(os.environ.get("PYUNION_FUZZ_EXAMPLES"))
DURATION_S = 60 if FUZZED else 4
SEED = time.time_ns() if FUZZED else 1
KERNEL_OPTIONS = "index=on,redirect_dir=on,xino=on,metacopy=on"


@pytest.fixture
def lowers(tmp_path) -> list[Path]:
    layers = [tmp_path / "top", tmp_path / "bottom"]
    for layer in layers:
        layer.mkdir()
    shared.build(layers, PROCESSES)
    owned.build(layers[1], PROCESSES)
    return layers


def hammer(root: Path, outside: Path, process: int) -> None:
    """One process: calls until the time is up, then a look at everything, and a note of what it logged."""
    owner, sharer = Owner(root, process, SEED), Sharer(root, process, SEED, outside)
    end = time.monotonic() + DURATION_S
    steps = 0
    while time.monotonic() < end:
        owner.step()
        sharer.step()
        steps += 2
    owner.check()
    sharer.close()
    (outside / f"{process}").write_text(f"{sharer.logged} {steps}")


@pytest.mark.parametrize("options", ["binding=direct", "binding=pyfuse3", "binding=direct,metacopy=on"])
def test_eight_processes_at_once(tmp_path, lowers, union_mount, overlay_mount, options):
    mounted = union_mount(lowers, tmp_path / "upper", options=options)
    outside = tmp_path / "outside"
    outside.mkdir()
    workers.run([partial(hammer, mounted.path, outside, process) for process in range(PROCESSES)])
    notes = {process: (outside / str(process)).read_text().split() for process in range(PROCESSES)}
    shared.check_after(mounted.path, {process: int(logged) for process, (logged, _) in notes.items()})
    print(f"{sum(int(steps) for _, steps in notes.values())} calls, seed {SEED}")
    seen = with_plain_links(snapshot(mounted.path))
    mounted.remount()
    assert_same_tree(seen, with_plain_links(snapshot(mounted.path)))
    mounted.unmount()
    work = tmp_path / "upper.work/work"
    left = [name for name in os.listdir(work) if not (work / name).is_char_device()]
    assert left == []
    oracle = overlay_mount(lowers, mounted.upper, workdir=mounted.workdir, options=KERNEL_OPTIONS)
    assert_same_tree(seen, with_plain_links(snapshot(oracle.path)), ignore={"nlink"})
