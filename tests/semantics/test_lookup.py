"""What a name means: merging, whiteouts, opaque directories (rules 1 to 16)."""

import os
import stat

import pytest

from tests.semantics.sidebyside import (
    TIMES,
    WHITEOUT,
    names,
    opaque,
    outcome,
    put,
    renameat2,
    run_beside,
    whiteout,
)
from tests.support import needs

pytestmark = [needs.root]


def test_1_to_5_what_hides_and_what_merges(tmp_path):
    def build(layers):
        top, middle, bottom = layers
        put(top / "both", "top")
        put(bottom / "both", "bottom")
        put(top / "dir/a", "1")
        put(middle / "dir/b", "2")
        put(bottom / "dir/b", "3")
        put(bottom / "dir/c", "4")
        put(top / "file-over-dir", "file")
        put(bottom / "file-over-dir/child", "x")
        put(top / "dir-over-file/child", "x")
        put(middle / "dir-over-file", "file")
        put(bottom / "dir-over-file/deep", "x")
        put(top / "split/a", "x")
        put(middle / "split", "file between")
        put(bottom / "split/b", "x")
        for layer, mode in zip(layers, (0o700, 0o711, 0o755), strict=True):
            (layer / "dir").chmod(mode)
            os.setxattr(layer / "dir", "user.from", layer.name.encode())

    def act(root):
        return (
            (root / "both").read_text(),
            names(root / "dir"),
            (root / "dir/b").read_text(),
            oct((root / "dir").stat().st_mode),
            os.getxattr(root / "dir", "user.from"),
            outcome(os.listdir, root / "file-over-dir/child"),
            names(root / "dir-over-file"),
            names(root / "split"),
        )

    run_beside(tmp_path, build, act, lowers=3)


def test_6_7_9_12_13_14_whiteouts_and_opaque_directories(tmp_path):
    def build(layers):
        one, two, three, four = layers
        for layer in layers:
            put(layer / "dir/everywhere", layer.name)
            put(layer / f"dir/{layer.name}", "x")
        whiteout(two / "hidden")
        put(three / "hidden", "x")
        put(one / "above", "x")
        whiteout(two / "above")
        whiteout(two / "gone-in-middle")
        put(one / "gone-in-middle/new", "x")
        put(four / "gone-in-middle/old", "x")
        # removed in the third, made again in the second with the same subdirectory
        put(four / "again/sub/old", "x")
        whiteout(three / "again")
        put(two / "again/sub/new", "x")
        put(four / "opaque/sub/deep/old", "x")
        put(one / "opaque/sub/deep/new", "x")
        opaque(one / "opaque")
        put(four / "opaque2/old", "x")
        opaque(two / "opaque2")

    def act(root):
        return (
            [outcome(os.stat, root / name) for name in ("hidden", "nothing", "again/sub/old", "opaque/sub/deep/old")],
            names(root),
            names(root / "again/sub"),
            names(root / "opaque/sub/deep"),
            names(root / "dir"),
            names(root / "gone-in-middle"),
            outcome(os.open, root / "hidden", os.O_RDONLY),
            (root / "above").exists(),
        )

    run_beside(tmp_path, build, act, lowers=4)


def test_8_and_61_users_make_no_whiteouts(tmp_path):
    def act(root):
        put(root / "f")
        return (
            outcome(os.mknod, root / "w", stat.S_IFCHR, 0),
            outcome(renameat2, root / "f", root / "g", WHITEOUT),
            names(root),
        )

    run_beside(tmp_path, lambda layers: None, act, ignore=TIMES)


def test_11_wh_names_are_ordinary_in_the_overlay_dialect(tmp_path):
    def build(layers):
        put(layers[0] / ".wh.lower", "x")
        put(layers[1] / "lower", "x")

    def act(root):
        put(root / ".wh.x", "x")
        return names(root)

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_15_symlinks_resolve_in_the_merged_tree(tmp_path):
    def build(layers):
        put(layers[1] / "dir/file", "lower")
        put(layers[1] / "target/file", "target")
        (layers[0] / "link").symlink_to("target")
        (layers[0] / "abs").symlink_to("/etc/hostname")

    def act(root):
        os.rename(root / "dir", root / "moved")
        (root / "dir").symlink_to("target")
        return (root / "dir/file").read_text(), (root / "link/file").read_text(), os.readlink(root / "abs")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_16_long_names(tmp_path):
    def act(root):
        put(root / ("n" * 255), "x")
        return outcome(os.stat, root / ("n" * 256)), names(root), os.statvfs(root).f_namemax

    run_beside(tmp_path, lambda layers: put(layers[0] / ("l" * 255)), act, ignore=TIMES)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"sp ace", b"co:lon,comma\\", "ünï".encode(), b"-"])
def test_names_are_bytes(tmp_path, name):
    def build(layers):
        with open(os.path.join(os.fsencode(layers[1]), name), "w") as f:
            f.write("x")

    def act(root):
        path = os.path.join(os.fsencode(root), name)
        os.chmod(path, 0o600)
        os.rename(path, path + b"2")
        os.setxattr(path + b"2", b"user.\xfe", b"x")
        return os.listdir(os.fsencode(root)), [os.fsencode(key) for key in os.listxattr(path + b"2")]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_10_files_with_an_xattr_as_whiteouts(tmp_path):
    """In directories marked opaque=x."""

    def build(layers):
        for name in ("marked/hidden", "marked/kept"):
            put(layers[2] / name, "bottom")
        put(layers[1] / "marked/hidden")
        put(layers[1] / "marked/with-data", "data")
        for name in ("marked/hidden", "marked/with-data"):
            os.setxattr(layers[1] / name, "trusted.overlay.whiteout", b"")
        opaque(layers[1] / "marked", b"x")

    def act(root):
        return names(root / "marked"), outcome(os.stat, root / "marked/hidden")

    run_beside(tmp_path, build, act, lowers=3)
