"""The tests' own tools, tried on kernel overlayfs: a comparer that sees nothing would let all pass."""

import os
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.mounts import MountFactory, is_mount_point
from tests.support.tree import assert_same_tree, differences, snapshot

pytestmark = needs.root


def make_tree(top: Path) -> Path:
    """A small tree with one object of each kind."""
    top.mkdir()
    (top / "file").write_bytes(b"content")
    os.link(top / "file", top / "hard link")
    (top / "symlink").symlink_to("file")
    os.mkfifo(top / "fifo")
    os.mknod(top / "null", 0o20666, os.makedev(1, 3))
    (top / "directory").mkdir()
    (top / "directory" / "child").write_bytes(b"child")
    os.setxattr(top / "file", "user.note", b"value")
    for path in ("file", "directory", "directory/child", "."):
        os.utime(top / path, ns=(10**18, 10**18 + 1))
    for path in ("symlink", "fifo", "null"):
        os.utime(top / path, ns=(10**18, 10**18 + 2), follow_symlinks=False)
    return top


def test_equal_trees_have_no_differences(tmp_path: Path) -> None:
    assert differences(snapshot(make_tree(tmp_path / "a")), snapshot(make_tree(tmp_path / "b"))) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda top: (top / "fifo").unlink(), "fifo: missing (fifo expected)"),
        (lambda top: (top / "new").mkdir(), "new: unexpected directory"),
        (lambda top: (top / "fifo").chmod(0o4755), "fifo: mode 4755, expected 0644"),
        (lambda top: os.chown(top / "fifo", 7, 0), "fifo: uid 7, expected 0"),
        (lambda top: os.utime(top / "fifo", ns=(0, 5)), "fifo: mtime_ns 5, expected 1000000000000000002"),
        (lambda top: os.setxattr(top / "fifo", "trusted.x", b""), "fifo: xattrs (('trusted.x', b''),), expected ()"),
    ],
)
def test_a_difference_is_told_in_one_line(tmp_path: Path, change, line: str) -> None:
    expected = snapshot(make_tree(tmp_path / "a"))
    changed = make_tree(tmp_path / "b")
    change(changed)
    assert line in differences(expected, snapshot(changed))


def test_content_is_compared_beyond_size_and_time(tmp_path: Path) -> None:
    expected, actual = make_tree(tmp_path / "a"), make_tree(tmp_path / "b")
    (actual / "directory/child").write_bytes(b"CHILD")
    os.utime(actual / "directory/child", ns=(10**18, 10**18 + 1))
    (line,) = differences(snapshot(expected), snapshot(actual))
    assert line.startswith("directory/child: sha256 ")


def test_ignored_fields_and_skipped_paths_are_not_compared(tmp_path: Path) -> None:
    expected, actual = make_tree(tmp_path / "a"), make_tree(tmp_path / "b")
    (actual / "fifo").chmod(0o600)
    (actual / "null").unlink()
    tolerated = {"mode", "mtime_ns"}
    assert_same_tree(snapshot(expected), snapshot(actual), ignore=tolerated, skip=lambda path: path == "null")
    with pytest.raises(ValueError, match="no such field"):
        differences({}, {}, ignore={"colour"})


def test_an_overlay_of_a_tree_shows_the_tree(tmp_path: Path, overlay_mount: MountFactory) -> None:
    lower = make_tree(tmp_path / "lower")
    mounted = overlay_mount([lower], tmp_path / "upper")
    mounted_top = snapshot(mounted.path)["."]
    assert_same_tree(snapshot(lower) | {".": mounted_top}, snapshot(mounted.path), ignore={"nlink"})
    (mounted.path / "file").unlink()
    assert differences(snapshot(lower), snapshot(mounted.path), ignore={"nlink", "mtime_ns"}) == [
        "file: missing (file expected)"
    ]


def test_mounts_end_and_come_back(tmp_path: Path, overlay_mount: MountFactory) -> None:
    lower = make_tree(tmp_path / "lower")
    mounted = overlay_mount([lower], tmp_path / "upper")
    (mounted.path / "new").write_text("kept")
    mounted.unmount()
    assert not is_mount_point(mounted.path)
    assert not (mounted.path / "new").exists()
    mounted.remount()
    assert (mounted.path / "new").read_text() == "kept"
