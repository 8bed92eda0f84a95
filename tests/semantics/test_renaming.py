"""Renaming (rules 55 to 65)."""

import os
import stat

from tests.semantics.sidebyside import (
    EXCHANGE,
    NOREPLACE,
    TIMES,
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


def test_55_56_59_60_63_64_renaming_files(tmp_path):
    def build(layers):
        for name in ("a", "b", "c", "d", "e", "g"):
            put(layers[1] / name, name)
        put(layers[1] / "dir/x", "x")
        os.link(layers[1] / "g", layers[1] / "h")

    def act(root):
        os.rename(root / "a", root / "new")
        os.rename(root / "b", root / "c")
        put(root / "u", "u")
        os.rename(root / "u", root / "d")
        seen = [
            outcome(renameat2, root / "e", root / "d", NOREPLACE),
            outcome(renameat2, root / "e", root / "a", NOREPLACE),
            outcome(renameat2, root / "d", root / "a", EXCHANGE),
            outcome(renameat2, root / "d", root / "nothing", EXCHANGE),
            outcome(os.rename, root / "d", root / "dir"),
            outcome(os.rename, root / "dir", root / "d"),
            outcome(os.rename, root / "dir", root / "dir/sub"),
            outcome(os.rename, root / "g", root / "h"),
        ]
        upper = root.parent / "upper"
        kinds = {p.name: stat.S_IFMT(p.lstat().st_mode) for p in upper.iterdir()}
        return seen, names(root), kinds, [(root / n).read_text() for n in ("a", "c", "d", "new", "g", "h")]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_57_58_60_62_renaming_directories(tmp_path):
    def build(layers):
        put(layers[0] / "merged/a", "x")
        put(layers[1] / "merged/b", "x")
        put(layers[1] / "merged/sub/c", "x")
        put(layers[1] / "lower/x", "x")
        put(layers[1] / "empty-me/x", "x")
        put(layers[1] / "full/x", "x")
        put(layers[0] / "deep/one/two/three", "x")
        put(layers[1] / "deep/one/two/four", "x")
        (layers[1] / "place").mkdir()

    def act(root):
        os.rename(root / "merged", root / "place/renamed")
        os.rename(root / "place/renamed/sub", root / "sub-moved")
        os.rename(root / "lower", root / "lower2")
        os.rename(root / "lower2", root / "lower3")
        (root / "pure").mkdir()
        put(root / "pure/x", "pure")
        seen = [outcome(os.rename, root / "pure", root / "full")]
        os.unlink(root / "empty-me/x")
        seen.append(outcome(os.rename, root / "pure", root / "empty-me"))
        (root / "lower").mkdir()
        put(root / "lower/new", "x")
        renameat2(root / "deep/one", root / "lower3", EXCHANGE)
        put(root / "lower3/two/four", "changed")
        os.unlink(root / "lower3/two/three")
        os.rename(root / "place", root / "place2")
        return seen, names(root), names(root / "place2/renamed"), names(root / "sub-moved"), names(root / "empty-me")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_57_a_directory_of_the_root_moved_under_its_own_name(tmp_path):
    """Its redirect, /c, reads as the name it has; found by tests/differential."""

    def build(layers):
        put(layers[1] / "c/file", "x")
        put(layers[1] / "b/other", "x")
        put(layers[1] / "b/c-not", "x")

    def act(root):
        os.rename(root / "c", root / "b/c")
        return names(root / "b/c")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_57_a_redirect_out_of_an_opaque_directory(tmp_path):
    """A renamed lower directory in a new one, once more renamed above: each layer's redirect is followed."""

    def build(layers):
        put(layers[2] / "usr/x/file", "x")
        put(layers[1] / "opt/odd/moved/added", "x")
        opaque(layers[1] / "opt/odd")
        os.setxattr(layers[1] / "opt/odd/moved", "trusted.overlay.redirect", b"/usr/x")
        whiteout(layers[1] / "usr/x")
        put(layers[0] / "there/new", "x")
        os.setxattr(layers[0] / "there", "trusted.overlay.redirect", b"/opt/odd/moved")
        whiteout(layers[0] / "opt/odd/moved")

    def act(root):
        seen = names(root / "there"), names(root / "opt/odd"), names(root / "usr")
        os.rename(root / "there", root / "opt/back")
        return seen, names(root / "opt/back")

    run_beside(tmp_path, build, act, lowers=3, ignore=TIMES)
