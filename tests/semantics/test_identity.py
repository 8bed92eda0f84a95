"""Hard links and inode numbers (rules 66 to 73)."""

import os
import stat

import pytest

from tests.semantics.sidebyside import (
    EXCHANGE,
    TIMES,
    names,
    outcome,
    put,
    renameat2,
    run_beside,
)
from tests.support import needs
from unionfs.linux import fsops

pytestmark = [needs.root]


def test_66_67_71_hard_links_stay_links(tmp_path):
    def build(layers):
        put(layers[1] / "one", "data")
        for name in ("two", "dir/three"):
            (layers[1] / name).parent.mkdir(exist_ok=True)
            os.link(layers[1] / "one", layers[1] / name)
        put(layers[1] / "single", "x")

    def act(root):
        numbers = [os.stat(root / name).st_ino for name in ("one", "two", "dir/three")]
        with open(root / "two", "r+") as f:
            f.write("NEW")
        seen = [(root / name).read_text() for name in ("one", "two", "dir/three")]
        seen += [os.stat(root / name).st_nlink for name in ("one", "two", "dir/three")]
        seen.append([os.stat(root / name).st_ino for name in ("one", "two", "dir/three")] == numbers)
        os.link(root / "dir/three", root / "four")
        os.unlink(root / "one")
        seen += [os.stat(root / name).st_nlink for name in ("two", "dir/three", "four")]
        os.link(root / "single", root / "double")
        seen += [os.stat(root / "single").st_nlink, os.path.samefile(root / "single", root / "double")]
        return seen

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_28_71_links_are_counted_without_copying_what_was_deleted(tmp_path, union_mount):
    """▲ The kernel copies a lower hard link up to remember that one of its names was deleted."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    put(lower / "one", "data")
    for name in ("two", "three"):
        os.link(lower / "one", lower / name)
    mounted = union_mount([lower], upper)
    (mounted.path / "one").unlink()
    assert (mounted.path / "two").stat().st_nlink == 2
    mounted.remount()
    assert (mounted.path / "two").stat().st_nlink == 2
    (mounted.path / "two").unlink()
    mounted.remount()
    assert (mounted.path / "three").stat().st_nlink == 1
    assert all(stat.S_ISCHR(os.lstat(upper / name).st_mode) for name in ("one", "two"))
    assert names(tmp_path / "upper.work/index") == []
    (mounted.path / "three").chmod(0o600)
    mounted.remount()
    assert (mounted.path / "three").stat().st_nlink == 1


def test_72_numbers_are_unique(tmp_path, union_mount):
    for layer in ("one", "two", "three"):
        for number in range(50):
            put(tmp_path / layer / f"dir/{layer}{number}", "x")
    root = union_mount([tmp_path / "one", tmp_path / "two", tmp_path / "three"], tmp_path / "upper").path
    for number in range(0, 50, 3):
        (root / f"dir/two{number}").chmod(0o600)
        put(root / f"dir/new{number}", "x")
    numbers = [path.lstat().st_ino for path in root.rglob("*")]
    assert len(numbers) == len(set(numbers))


def test_18_68_listings_have_the_number_of_what_was_exchanged(tmp_path):
    """By whoever mounts it: a directory that holds a copy has to say so."""

    def act(root):
        for name, other in (("one", "file"), ("two", "dir")):
            put(root / f"made/{name}/mine", "x")
            renameat2(root / f"made/{name}/mine", root / other, EXCHANGE)

    def build(layers):
        put(layers[1] / "file", "x")
        put(layers[1] / "dir/below", "x")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_69_one_device_for_all(tmp_path):
    def build(layers):
        put(layers[0] / "dir/a", "x")
        put(layers[1] / "dir/b", "x")
        put(layers[1] / "f", "x")

    def act(root):
        put(root / "new", "x")
        (root / "f").chmod(0o600)
        return len({path.lstat().st_dev for path in (root, *root.rglob("*"))})

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_70_links_of_directories(tmp_path):
    """1 says that nobody counted; find(1) and others know it."""

    def build(layers):
        for name in ("merged/one", "merged/two", "lower/one", "lower/two"):
            (layers[1] / name).mkdir(parents=True)
        (layers[0] / "merged/three").mkdir(parents=True)

    def act(root):
        (root / "new/one").mkdir(parents=True)
        return [(root / name).stat().st_nlink for name in ("merged", "lower", "new", "new/one")]

    run_beside(tmp_path, build, act, ignore=TIMES)


@pytest.mark.uses("NO_EXPORT_SUPPORT")
def test_73_there_are_no_file_handles(tmp_path):
    """The mount can't be exported: nfs_export=off."""

    def act(root):
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return outcome(fsops.name_to_handle, top, b"file")
        finally:
            os.close(top)

    run_beside(tmp_path, lambda layers: put(layers[1] / "file", "x"), act)
