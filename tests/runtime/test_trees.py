"""runtime.trees: removal of what strangers made."""

import os
import resource
from pathlib import Path

from runtime.trees import remove_tree


def test_nothing_happens_if_it_is_absent(tmp_path: Path) -> None:
    remove_tree(str(tmp_path / "absent"))


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "link").symlink_to(precious)
    (tree / "sub/link").symlink_to("../../precious")
    remove_tree(str(tree))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (precious / "file").exists()


def test_a_tree_deeper_than_descriptors_and_recursion_allow(tmp_path: Path) -> None:
    top = str(tmp_path / "top")
    os.mkdir(top)
    here = os.open(top, os.O_PATH | os.O_DIRECTORY)
    for _ in range(5000):
        os.mkdir("d" * 100, dir_fd=here)
        os.mkdir("side", dir_fd=here)
        below = os.open("d" * 100, os.O_PATH | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        remove_tree(top)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not os.path.exists(top)
