"""How layers in the wild say "deleted" and "nothing below": `.wh.` files of AUFS and OCI layers, and the marks of other
union filesystems. fuse-overlayfs, whose layers these are, is mounted beside where it is right."""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.semantics.sidebyside import names, opaque, outcome, put, whiteout
from tests.support import needs
from tests.support.tree import Snapshot, assert_same_tree, snapshot

pytestmark = [needs.root]


def deleted(path: Path) -> None:
    """As OCI layers have it."""
    put(path.with_name(f".wh.{path.name}"))


def hides_below(path: Path) -> None:
    """As OCI layers have it."""
    put(path / ".wh..wh..opq")


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Four, uppermost first."""
    made = [tmp_path / f"layer{number}" for number in range(4)]
    for layer in made:
        layer.mkdir()
    return made


def by_fuse_overlayfs(layers: list[Path], at: Path) -> Snapshot:
    """What fuse-overlayfs shows."""
    needs.commands("fuse-overlayfs")
    at.mkdir()
    lowers = ":".join(map(str, layers))
    subprocess.run(["fuse-overlayfs", "-o", f"lowerdir={lowers},noacl", at], check=True)
    try:
        return snapshot(at)
    finally:
        subprocess.run(["umount", at], check=True)


def build(layers: list[Path]) -> None:
    one, two, three, four = layers
    for layer in layers:
        put(layer / "dir" / layer.name, "x")
        put(layer / "dir/everywhere", layer.name)
    put(four / "gone", "x")
    deleted(two / "gone")
    put(four / "gone-dir/deep/file", "x")
    deleted(three / "gone-dir")
    put(four / "back", "old")
    deleted(three / "back")
    put(two / "back", "new")
    put(four / "opaque/old", "x")
    put(three / "opaque/older-than-mark", "x")
    hides_below(two / "opaque")
    put(two / "opaque/new", "x")
    put(one / "opaque/newest", "x")
    put(four / "inside/a", "x")
    put(four / "inside/b", "x")
    deleted(one / "inside/a")
    put(one / "only-above", "x")
    deleted(two / "only-above")


@pytest.mark.parametrize("dialect", ["auto", "oci"])
def test_wh_files_delete_and_hide(tmp_path: Path, layers: list[Path], union_mount, dialect: str) -> None:
    build(layers)
    mounted = union_mount(layers, options=f"dialect={dialect}")
    root = mounted.path
    assert names(root) == ["back", "dir", "inside", "only-above", "opaque"]
    assert names(root / "dir") == ["everywhere", "layer0", "layer1", "layer2", "layer3"]
    assert (root / "dir/everywhere").read_text() == "layer0"
    assert (root / "back").read_text() == "new"
    assert names(root / "opaque") == ["new", "newest"]
    assert names(root / "inside") == ["b"]
    for name in ("gone", "gone-dir", "gone-dir/deep/file", "inside/a", "opaque/old", ".wh.gone", "opaque/.wh..wh..opq"):
        assert outcome(os.stat, root / name) == "ENOENT"
    assert_same_tree(by_fuse_overlayfs(layers, tmp_path / "peer"), snapshot(root), ignore={"nlink"})


def test_a_file_that_deletes_spares_what_is_beside_it(layers: list[Path], union_mount) -> None:
    """In one layer a name and its `.wh.` file: what lies below is hidden, the new one isn't."""
    put(layers[1] / "dir/old", "x")
    put(layers[0] / "dir/new", "x")
    deleted(layers[0] / "dir")
    put(layers[1] / "file", "old")
    put(layers[0] / "file", "new")
    deleted(layers[0] / "file")
    root = union_mount(layers).path
    assert names(root) == ["dir", "file"]
    assert names(root / "dir") == ["new"]
    assert (root / "file").read_text() == "new"


def test_a_wh_file_counts_on_the_way_of_a_redirect(layers: list[Path], union_mount) -> None:
    """A directory of the root, deleted in a middle layer, made again above it, renamed in the uppermost."""
    put(layers[3] / "dir/old", "x")
    deleted(layers[2] / "dir")
    put(layers[1] / "dir/new", "x")
    put(layers[0] / "renamed/added", "x")
    os.setxattr(layers[0] / "renamed", "trusted.overlay.redirect", b"/dir")
    deleted(layers[0] / "dir")
    root = union_mount(layers).path
    assert names(root) == ["renamed"]
    assert names(root / "renamed") == ["added", "new"]


def test_marks_of_other_filesystems(tmp_path: Path, layers: list[Path], union_mount) -> None:
    for name in ("trusted", "user", "fuseoverlayfs"):
        put(layers[1] / name / "old", "x")
        put(layers[0] / name / "new", "x")
        put(layers[1] / f"{name}-plain", "x")
    os.setxattr(layers[0] / "trusted", "trusted.overlay.opaque", b"y")
    os.setxattr(layers[0] / "user", "user.overlay.opaque", b"y")
    os.setxattr(layers[0] / "fuseoverlayfs", "user.fuseoverlayfs.opaque", b"y")
    whiteout(layers[0] / "user-plain")
    root = union_mount(layers, options="dialect=auto").path
    for name in ("trusted", "user", "fuseoverlayfs"):
        assert names(root / name) == ["new"]
        assert os.listxattr(root / name) == []
    assert "user-plain" not in names(root)
    assert_same_tree(by_fuse_overlayfs(layers, tmp_path / "peer"), snapshot(root), ignore={"nlink"})


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.touch(), id="create"),
        pytest.param(lambda path: path.mkdir(), id="mkdir"),
        pytest.param(lambda path: os.mkfifo(path), id="mknod"),
        pytest.param(lambda path: path.symlink_to("x"), id="symlink"),
        pytest.param(lambda path: os.link(path.parent / "file", path), id="link"),
        pytest.param(lambda path: os.rename(path.parent / "file", path), id="rename"),
    ],
)
@pytest.mark.parametrize("name", [".wh.file", ".wh..wh..opq", ".wh."])
def test_nobody_can_make_such_names(
    layers: list[Path], tmp_path: Path, union_mount, make: Callable[[Path], None], name: str
) -> None:
    """Whoever could would delete others' files at the next mount."""
    put(layers[0] / "file", "x")
    mounted = union_mount(layers, tmp_path / "upper")
    with pytest.raises(OSError) as refused:
        make(mounted.path / name)
    assert refused.value.errno == errno.EPERM
    mounted.remount()
    assert names(mounted.path) == ["file"]


def test_in_the_overlay_dialect_they_are_ordinary(layers: list[Path], tmp_path: Path, union_mount) -> None:
    put(layers[1] / "file", "x")
    deleted(layers[0] / "file")
    mounted = union_mount(layers, tmp_path / "upper", options="dialect=overlay")
    (mounted.path / ".wh.other").touch()
    assert names(mounted.path) == [".wh.file", ".wh.other", "file"]


def test_what_is_deleted_over_such_layers_is_deleted_for_the_kernel_too(
    layers: list[Path], tmp_path: Path, union_mount, overlay_mount
) -> None:
    """Ours are the kernel's whiteouts: an upper can move."""
    put(layers[1] / "kept", "x")
    put(layers[1] / "gone", "x")
    put(layers[1] / "dir/old", "x")
    mounted = union_mount(layers, tmp_path / "upper")
    (mounted.path / "gone").unlink()
    (mounted.path / "dir/old").unlink()
    (mounted.path / "dir").rmdir()
    (mounted.path / "dir").mkdir()
    mounted.unmount()
    kernel = overlay_mount(layers, tmp_path / "upper").path
    assert names(kernel) == ["dir", "kept"]
    assert names(kernel / "dir") == []


def test_an_opaque_directory_that_also_has_whiteouts_shows_none(layers: list[Path], union_mount) -> None:
    """Rule 12. The kernel lists the name."""
    put(layers[1] / "dir/name", "x")
    opaque(layers[0] / "dir")
    whiteout(layers[0] / "dir/name")
    whiteout(layers[0] / "dir/needless")
    for dialect in ("overlay", "auto"):
        assert names(union_mount(layers, options=f"dialect={dialect}").path / "dir") == []


def test_a_file_in_the_root_of_a_layer_hides_all_that_is_below(tmp_path, layers, union_mount):
    for layer in layers:
        put(layer / layer.name, "x")
        put(layer / "dir" / layer.name, "x")
    hides_below(layers[1])
    mounted = union_mount(layers, options="dialect=auto")
    assert names(mounted.path) == ["dir", "layer0", "layer1"]
    assert names(mounted.path / "dir") == ["layer0", "layer1"]
    assert outcome(os.stat, mounted.path / "layer2") == "ENOENT"
    assert_same_tree(by_fuse_overlayfs(layers, tmp_path / "theirs"), snapshot(mounted.path), ignore={"nlink"})
