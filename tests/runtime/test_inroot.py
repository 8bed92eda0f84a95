"""runtime.container.inroot: no path leads out of the root."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.container.inroot import open_plain, open_target


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").mkdir()
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "file").write_text("inside")
    for name, target in {
        "absolute": "/a",
        "relative": "a/b",
        "up": "../../..",
        "out": str(tmp_path / "outside"),
        "loop": "loop",
        "a/back": "/absolute/b/../b",
    }.items():
        (tree / name).symlink_to(target)
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def where(root: int, path: str) -> str:
    """The path, from the root, of what open_target() opens."""
    fd = open_target(root, path.encode(), "directory")
    found = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return os.path.relpath(found, os.readlink(f"/proc/self/fd/{root}"))


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/", "."),
        ("", "."),
        ("a/b", "a/b"),
        ("/a//./b/", "a/b"),
        ("../../a", "a"),
        ("a/../../..", "."),
        ("absolute/b", "a/b"),
        ("relative", "a/b"),
        ("up/a", "a"),
        ("a/back", "a/b"),
        ("a/b/../../file", "file"),
    ],
)
def test_paths_stay_inside(root: int, path: str, inside: str) -> None:
    assert where(root, path) == inside


def test_what_a_link_names_outside_is_made_inside(root: int, tmp_path: Path) -> None:
    os.close(open_target(root, b"out/new", "file"))
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "tree" / str(tmp_path / "outside")[1:] / "new").is_file()


def test_missing_parents_are_directories(root: int, tmp_path: Path) -> None:
    os.close(open_target(root, b"x/y/z", "file"))
    assert (tmp_path / "tree/x/y").is_dir()
    assert (tmp_path / "tree/x/y/z").is_file()


@pytest.mark.parametrize(("path", "error"), [(b"loop", OSError), (b"file/x", NotADirectoryError)])
def test_dead_ends(root: int, path: bytes, error: type[OSError]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        open_target(root, path, "directory")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("path", [b"relative", b"absolute/b", b"out", b"..", b"/a"])
def test_open_plain_refuses_links_and_ways_out(root: int, path: bytes) -> None:
    with pytest.raises(OSError):
        open_plain(root, path)
    os.close(open_plain(root, b"a/b"))
