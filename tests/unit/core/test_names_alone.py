"""A listing of names alone says of each what stat does, and looks at next to none."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.semantics.sidebyside import opaque, put, whiteout
from tests.support import needs
from tests.unit.core.inprocess import ROOT, InProcess
from unionfs.core import tree
from unionfs.core.inodes import Dir, Node
from unionfs.core.model import StatLike
from unionfs.core.ops import create, listing, lookup, remove, rename
from unionfs.core.union import Union
from unionfs.core.work import run_inline
from unionfs.linux.fsops import RENAME_EXCHANGE

pytestmark = [needs.root]


@pytest.fixture
def fs(tmp_path: Path) -> InProcess:
    """A directory with an object of each kind in each of two lowers and in the upper, some below another."""
    fs = InProcess(tmp_path)
    for layer, above in ((fs.lowers[1], "bottom"), (fs.lowers[0], "middle"), (fs.upper, "top")):
        here = layer / "dir"
        put(here / f"{above}-file", "content")
        put(here / f"{above}-dir/in-it")
        (here / f"{above}-link").symlink_to("nowhere")
        (here / f"{above}-hard").hardlink_to(here / f"{above}-file")
        os.mkfifo(here / f"{above}-fifo")
        os.mknod(here / f"{above}-device", 0o020600, os.makedev(1, 3))
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(here / "s"))
            (here / "s").rename(here / f"{above}-socket")
        put(here / "everywhere", above)
        put(here / "merged" / above)
        put(here / "gone")
    opaque(fs.lowers[0] / "dir/middle-dir")
    (fs.upper / "dir/gone").unlink()
    whiteout(fs.upper / "dir/gone")
    return fs


def alone(fs: InProcess, node: Dir) -> list[tuple[int, bytes, int, int]]:
    return list(listing.names(fs.union, node, 0))


def with_attributes(fs: InProcess, node: Dir) -> list[tuple[int, bytes, int, int]]:
    found = []
    for offset, name, child, st in listing.entries(fs.union, node, 0):
        found.append((offset, name, child.ino, stat.S_IFMT(st.st_mode)))
        listing.release_unused(fs.union, child)
    return found


def directory(fs: InProcess, path: str = "dir") -> Dir:
    node = fs.node(path)
    assert isinstance(node, Dir)
    node.lookups += 1
    return node


def test_names_alone_have_the_numbers_and_types_that_stat_gives(fs: InProcess) -> None:
    node = directory(fs)
    found = alone(fs, node)
    assert len(found) == 2 + 3 * 7 + 2
    assert found == with_attributes(fs, node)


def test_they_do_while_some_are_in_use(fs: InProcess) -> None:
    node = directory(fs)
    for path in ("dir/bottom-file", "dir/middle-hard", "dir/merged", "dir/top-dir/in-it"):
        fs.node(path).lookups += 1
    assert alone(fs, node) == with_attributes(fs, node)


def test_only_what_merges_or_is_no_file_directory_or_symlink_is_looked_at(
    fs: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = directory(fs)
    looked_at: list[bytes] = []
    real = tree.child_attr

    def noted(union: Union, parent: Dir, name: bytes) -> tuple[Node, StatLike]:
        looked_at.append(name)
        return real(union, parent, name)

    monkeypatch.setattr(tree, "child_attr", noted)
    alone(fs, node)
    special = {f"{where}-{kind}" for where in ("bottom", "middle", "top") for kind in ("fifo", "device", "socket")}
    assert {os.fsdecode(name) for name in looked_at} == special | {"everywhere", "merged"}
    assert set(fs.union.inodes) == {fs.union.root, node}, "nothing stays in memory"


def _make_anew(fs: InProcess, name: bytes) -> None:
    remove.unlink(fs.union, directory(fs), name)
    create.mkdir(fs.union, directory(fs), name, 0o755, ROOT)


def _exchange(fs: InProcess, one: bytes, other: bytes) -> None:
    node = directory(fs)
    run_inline(rename.rename(fs.union, node, one, node, other, RENAME_EXCHANGE))


def _move(fs: InProcess, old: bytes, new: bytes) -> None:
    node = directory(fs)
    run_inline(rename.rename(fs.union, node, old, node, new, 0))


CHANGES: list[Callable[[InProcess], object]] = [
    lambda fs: fs.write("dir/bottom-file", b"copied up"),
    lambda fs: fs.write("dir/middle-hard", b"one of two names copied up"),
    lambda fs: fs.write("dir/bottom-dir/in-it", b"its directory is in the upper, too"),
    lambda fs: _make_anew(fs, b"bottom-file"),
    lambda fs: _exchange(fs, b"bottom-file", b"middle-dir"),
    lambda fs: _exchange(fs, b"top-file", b"top-dir"),
    lambda fs: _move(fs, b"bottom-dir", b"moved"),
    lambda fs: _move(fs, b"bottom-link", b"middle-file"),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("when", ["while it is in memory", "before a remount"])
def test_they_do_when_something_was_changed(fs: InProcess, change: Callable[[InProcess], object], when: str) -> None:
    node = directory(fs)
    alone(fs, node)
    change(fs)
    if when == "before a remount":
        fs.reopen()
        node = directory(fs)
    for path in ("dir", "dir/merged"):
        node = directory(fs, path)
        assert alone(fs, node) == with_attributes(fs, node)
    fs.union.check()


def test_they_do_where_an_xattr_has_owner_and_mode(tmp_path: Path) -> None:
    fs = InProcess(tmp_path, xattr_permissions=2, dialect="auto")
    put(fs.lowers[0] / "dir/lower")
    fs.write("dir/lower", b"copied up")
    create.mknod(fs.union, directory(fs), b"device", 0o020600, os.makedev(1, 3), ROOT)
    create.mkdir(fs.union, directory(fs), b"made", 0o700, ROOT)
    fs.reopen()
    node = directory(fs)
    found = alone(fs, node)
    assert found == with_attributes(fs, node)
    assert {name: kind for _, name, _, kind in found}[b"device"] == stat.S_IFCHR


def test_a_removed_directory_has_no_names(fs: InProcess) -> None:
    create.mkdir(fs.union, fs.union.root, b"empty", 0o755, ROOT)
    node = directory(fs, "empty")
    remove.rmdir(fs.union, fs.union.root, b"empty")
    assert alone(fs, node) == []
    lookup.forget(fs.union, node, node.lookups)
