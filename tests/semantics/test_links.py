"""Lower hard links with more names than were copied up: the number of links is told in a mark, in two forms."""

import os

from tests.semantics.sidebyside import put, run_beside
from tests.support import needs

pytestmark = [needs.root]

TIMES = frozenset({"mtime_ns"})


def build(layers):
    put(layers[1] / "one", "one object")
    for name in ("two", "three", "four"):
        os.link(layers[1] / "one", layers[1] / name)


def test_links_not_copied_up_are_counted_from_the_lower_object(tmp_path):
    def act(root):
        (root / "one").write_text("written through one name")
        return [os.stat(root / name).st_nlink for name in ("one", "two", "three", "four")]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_links_made_and_removed_after_copy_up_are_counted_from_the_upper_object(tmp_path):
    def act(root):
        (root / "one").write_text("written through one name")
        os.link(root / "two", root / "five")
        os.unlink(root / "three")
        os.rename(root / "four", root / "six")
        return [os.stat(root / name).st_nlink for name in ("one", "two", "five", "six")]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_a_symlink_with_several_names_is_copied_up_as_itself(tmp_path):
    def build_symlinks(layers):
        put(layers[1] / "target", "is not touched")
        os.symlink("target", layers[1] / "link")
        os.link(layers[1] / "link", layers[1] / "other", follow_symlinks=False)

    def act(root):
        os.chown(root / "link", 1234, 1234, follow_symlinks=False)
        return [(os.lstat(root / name).st_uid, os.lstat(root / name).st_nlink) for name in ("link", "other", "target")]

    run_beside(tmp_path, build_symlinks, act)
