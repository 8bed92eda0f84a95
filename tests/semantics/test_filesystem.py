"""The filesystem as a whole (rules 83 to 96)."""

import ctypes
import fcntl
import os
import shutil
import struct

import pytest

from tests.semantics.sidebyside import (
    TIMES,
    names,
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


def test_83_space_is_that_of_the_upper(tmp_path):
    def act(root):
        seen, upper = os.statvfs(root), os.statvfs(root.parent)
        return seen.f_blocks == upper.f_blocks, seen.f_files == upper.f_files, seen.f_bsize, seen.f_namemax

    run_beside(tmp_path, lambda layers: put(layers[1] / "f"), act)


def test_87_left_overs_in_workdir_go_and_stop_nothing(tmp_path, union_mount):
    put(tmp_path / "lower/f", "x")
    put(tmp_path / "upper.work/a file", "theirs")
    put(tmp_path / "upper.work/work/#1/deep/file", "left over")
    put(tmp_path / "upper.work/work/#2", "left over")
    mounted = union_mount([tmp_path / "lower"], tmp_path / "upper")
    (mounted.path / "f").write_text("new")
    mounted.unmount()
    assert names(tmp_path / "upper.work/work") == []
    assert (tmp_path / "upper.work/a file").read_text() == "theirs"


def test_88_layers_that_change_underneath_harm_nothing_else(tmp_path, union_mount):
    for name in ("a", "dir/b", "dir/sub/c", "other/d"):
        put(tmp_path / "lower" / name, name)
    mounted = union_mount([tmp_path / "lower"], tmp_path / "upper")
    assert names(mounted.path) == ["a", "dir", "other"]
    shutil.rmtree(tmp_path / "lower/dir")
    (tmp_path / "lower/a").unlink()
    (tmp_path / "lower/a").mkdir()
    for name in ("dir/b", "dir/sub/c", "dir/sub", "a"):
        for call in (os.stat, os.listdir, lambda path: open(path, "r+").close(), lambda path: os.chmod(path, 0o700)):
            outcome(call, mounted.path / name)
    assert (mounted.path / "other/d").read_text() == "other/d"
    (mounted.path / "other/d").write_text("new")
    (mounted.path / "new").mkdir()
    mounted.remount()
    assert (mounted.path / "other/d").read_text() == "new"


def test_90_a_watch_sees_changes_after_copy_up(tmp_path):
    def act(root):
        libc = ctypes.CDLL(None, use_errno=True)
        watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(watch, os.fsencode(root / "f"), 0x2) == 1  # IN_MODIFY
        (root / "f").write_text("new")
        try:
            return struct.unpack_from("iI", os.read(watch, 4096))
        finally:
            os.close(watch)

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "x"), act, ignore=TIMES)

