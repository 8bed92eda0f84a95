"""The filesystem as a whole (rules 83 to 96)."""

import fcntl
import os

import pytest

from tests.semantics.sidebyside import (
    TIMES,
    outcome,
    put,
    run_beside,
)
from tests.support import needs

pytestmark = [needs.root]


def test_84_syncing_works_on_either_layer(tmp_path):
    def act(root):
        for name, flags in (("f", os.O_RDONLY), ("f", os.O_RDWR), ("g", os.O_RDWR | os.O_CREAT)):
            fd = os.open(root / name, flags)
            os.fsync(fd)
            os.fdatasync(fd)
            os.close(fd)
        fd = os.open(root, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "x"), act, ignore=TIMES)


def test_85_a_volatile_upper_that_may_be_damaged_is_refused(tmp_path, union_mount, overlay_mount):
    put(tmp_path / "lower/f", "x")
    mounted = union_mount([tmp_path / "lower"], tmp_path / "upper", options="volatile")
    (mounted.path / "f").write_text("y")
    mark = tmp_path / "upper.work/work/incompat/volatile"
    assert mark.is_dir()
    mounted.remount()  # ▲ after a clean unmount, which syncs, it isn't
    assert (mounted.path / "f").read_text() == "y"
    mounted.unmount()
    assert not mark.parent.exists()
    mark.mkdir(parents=True)
    for mount in (union_mount, overlay_mount):
        with pytest.raises(AssertionError):
            mount([tmp_path / "lower"], tmp_path / "upper")
    assert mark.is_dir()


def test_89_locks_conflict_across_copy_up(tmp_path):
    def act(root):
        first = os.open(root / "f", os.O_RDONLY)
        fcntl.flock(first, fcntl.LOCK_EX)
        second = os.open(root / "f", os.O_RDWR)
        seen = outcome(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(first)
        again = outcome(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(second)
        return seen, again

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "x"), act, ignore=TIMES)
