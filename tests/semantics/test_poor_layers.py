"""Layers on filesystems that can do less than the mount: what is missing is replaced, and what is seen is the same.

tests/differential tries uppers without xattrs, without whiteout nodes and without rename flags at random; here are
those it can't take, and lowers of other kinds.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.semantics.sidebyside import names, put
from tests.support import needs
from tests.support.tree import assert_same_tree, snapshot

pytestmark = [needs.root]

TIMES = frozenset({"mtime_ns"})


@pytest.fixture
def mount_fs(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a filesystem on a new directory."""
    mounted: list[Path] = []

    def mount(name: str, *arguments: str | Path) -> Path:
        place = tmp_path / name
        place.mkdir()
        subprocess.run(["mount", *arguments, place], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in reversed(mounted):
        subprocess.run(["umount", place], check=True)


def make_lower(lower: Path) -> None:
    for name in ("kept", "changed", "deleted", "dir/kept", "dir/deleted", "dir/sub/deep", "gone/a", "again/old"):
        put(lower / name, name * 1000, 0o755)


def change(root: Path) -> None:
    with open(root / "changed", "r+") as file:
        file.write("NEW")
    (root / "deleted").unlink()
    (root / "dir/deleted").unlink()
    os.rename(root / "dir", root / "moved")
    put(root / "dir/new", "new", 0o755)
    (root / "gone/a").unlink()
    (root / "gone").rmdir()
    (root / "again/old").unlink()
    (root / "again").rmdir()
    (root / "again").mkdir()
    put(root / "again/fresh", "fresh", 0o755)
    os.rename(root / "kept", root / "again/kept")
    (root / "again").chmod(0o755)


def test_an_upper_without_nodes_and_xattrs(tmp_path: Path, union_mount) -> None:
    """Deletions are `.wh.` files, directories are renamed by copying. The upper is on a union that has no xattrs."""
    (tmp_path / "base").mkdir()
    poor = union_mount([tmp_path / "base"], tmp_path / "poor", options="noxattrs,dialect=overlay").path
    make_lower(tmp_path / "lower")
    subprocess.run(["cp", "-a", tmp_path / "lower", tmp_path / "plain"], check=True)
    change(tmp_path / "plain")
    mounted = union_mount([tmp_path / "lower"], poor / "u", workdir=poor / "w", options="dialect=auto")
    change(mounted.path)
    expected = snapshot(tmp_path / "plain")
    for _ in range(2):
        assert_same_tree(expected, snapshot(mounted.path), ignore=TIMES | {"nlink"})
        mounted.remount()
    assert (poor / "u/.wh.deleted").exists()
    assert (poor / "u/moved/.wh..wh..opq").exists()
    with pytest.raises(PermissionError):
        (mounted.path / ".wh.changed").touch()
    mounted.unmount()


def test_an_upper_on_fuse_overlayfs_is_refused(tmp_path: Path) -> None:
    """It takes each form of our whiteouts for its own: char 0:0 and `.wh.NAME` it hides, and the xattr, too."""
    needs.commands("fuse-overlayfs")
    for name in ("l", "u", "w", "theirs", "lower", "ours"):
        (tmp_path / name).mkdir()
    theirs = tmp_path / "theirs"
    options = f"lowerdir={tmp_path / 'l'},upperdir={tmp_path / 'u'},workdir={tmp_path / 'w'}"
    subprocess.run(["fuse-overlayfs", "-o", options, theirs], check=True, capture_output=True)
    try:
        (theirs / "u").mkdir()
        (theirs / "w").mkdir()
        options = f"lowerdir={tmp_path / 'lower'},upperdir={theirs / 'u'},workdir={theirs / 'w'}"
        command = [sys.executable, "-m", "unionfs", "-o", options, str(tmp_path / "ours")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert "keeps none of the forms in which deletions are written" in result.stderr
    finally:
        subprocess.run(["umount", theirs], check=True)


def test_what_hides_a_lower_file_stays_when_the_new_one_cannot_be_renamed(tmp_path: Path, union_mount) -> None:
    needs.commands("chattr")
    (tmp_path / "base").mkdir()
    poor = union_mount([tmp_path / "base"], tmp_path / "poor", options="noxattrs,dialect=overlay").path
    put(tmp_path / "lower/name/old", "old", 0o755)
    top = union_mount([tmp_path / "lower"], poor / "u", workdir=poor / "w", options="dialect=auto").path
    shutil.rmtree(top / "name")
    put(top / "name", "new", 0o644)
    assert (poor / "u/.wh.name").exists()
    subprocess.run(["chattr", "+i", tmp_path / "poor/u/name"], check=True)
    try:
        with pytest.raises(PermissionError):
            os.rename(top / "name", top / "other")
    finally:
        subprocess.run(["chattr", "-i", tmp_path / "poor/u/name"], check=True)
    assert (poor / "u/.wh.name").exists()


def squashfs(lower: Path, tmp: Path, mount_fs: Callable[..., Path]) -> Path:
    needs.commands("mksquashfs")
    subprocess.run(["mksquashfs", lower, tmp / "lower.sqfs", "-quiet"], check=True, capture_output=True)
    return mount_fs("squashfs", "-t", "squashfs", "-o", "loop,ro", tmp / "lower.sqfs")


def overlay(lower: Path, tmp: Path, mount_fs: Callable[..., Path]) -> Path:
    (tmp / "empty").mkdir()
    return mount_fs("overlay", "-t", "overlay", "-o", f"lowerdir={lower}:{tmp / 'empty'}", "overlay")


def tmpfs(lower: Path, tmp: Path, mount_fs: Callable[..., Path]) -> Path:
    place = mount_fs("tmpfs", "-t", "tmpfs", "tmpfs")
    subprocess.run(["cp", "-a", f"{lower}/.", place], check=True)
    return place


@pytest.mark.parametrize("kind", [squashfs, overlay, tmpfs])
def test_lowers_of_other_kinds(tmp_path: Path, union_mount, mount_fs, kind) -> None:
    """Read-only ones, another overlay, another filesystem than the upper's: numbers stay the same over copy-up."""
    make_lower(tmp_path / "lower")
    lower = kind(tmp_path / "lower", tmp_path, mount_fs)
    subprocess.run(["cp", "-a", tmp_path / "lower", tmp_path / "plain"], check=True)
    change(tmp_path / "plain")
    mounted = union_mount([lower], tmp_path / "upper", options="dialect=overlay")
    numbers = {name: os.stat(mounted.path / name).st_ino for name in ("changed", "dir", "dir/sub/deep")}
    change(mounted.path)
    moved = {"changed": "changed", "dir": "moved", "dir/sub/deep": "moved/sub/deep"}
    for _ in range(2):
        assert_same_tree(snapshot(tmp_path / "plain"), snapshot(mounted.path), ignore=TIMES | {"nlink"})
        assert {name: os.stat(mounted.path / moved[name]).st_ino for name in moved} == numbers
        assert len({entry.inode() for entry in os.scandir(mounted.path)}) == len(names(mounted.path))
        mounted.remount()


def test_acls_of_a_layer_that_has_none(tmp_path: Path, union_mount, mount_fs) -> None:
    """Rule 78."""
    lower = mount_fs("ramfs", "-t", "ramfs", "ramfs")
    put(lower / "dir/file", "x")
    (lower / "dir").chmod(0o777)
    mounted = union_mount([lower], tmp_path / "upper")
    assert os.listxattr(mounted.path / "dir") == []
    command = ["setpriv", "--reuid", "1234", "--clear-groups", "mkdir", "new"]
    subprocess.run(command, cwd=mounted.path / "dir", check=True)
    subprocess.run(["setfacl", "-m", "u:77:rwx", mounted.path / "dir/file"], check=True)
