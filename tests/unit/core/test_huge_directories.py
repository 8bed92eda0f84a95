"""A huge directory isn't read for a few names, and names in it mean what they mean in a listing."""

import os
from pathlib import Path

import pytest

from tests.semantics.sidebyside import opaque, put, whiteout
from tests.support import needs
from tests.unit.core.inprocess import InProcess
from unionfs.core.inodes import Dir
from unionfs.core.ops import listing, lookup, remove

pytestmark = [needs.root]

FILES = ("plain", "covered", "gone", "denied", "back", "over-file")
"""In the lower layer, and directories there:"""
DIRECTORIES = ("merged", "opaque", "emptied", "denied-dir", "old")
KINDS = (*FILES, *DIRECTORIES, "moved", "absent")


@pytest.fixture
def fs(tmp_path: Path) -> InProcess:
    """Each of KINDS in a directory of 4,000 further names; an upper, and two lowers."""
    fs = InProcess(tmp_path, dialect="auto")
    upper, middle, bottom = fs.upper / "huge", fs.lowers[0] / "huge", fs.lowers[1] / "huge"
    for number in range(4000):
        put(bottom / f"{number:064}")
    for name in FILES:
        put(bottom / name, "below")
    for name in DIRECTORIES:
        put(bottom / name / "below")
    put(middle / "covered", "above")
    whiteout(middle / "gone")
    put(middle / ".wh.denied")
    put(middle / ".wh.back")
    put(upper / "back", "above")
    for name in ("merged", "opaque", "emptied", "denied-dir", "moved", "over-file"):
        put(middle / name / "above")
    opaque(middle / "opaque")
    put(middle / "emptied/.wh..wh..opq")
    put(middle / ".wh.denied-dir")
    os.setxattr(middle / "moved", "trusted.overlay.redirect", b"old")
    return fs


def seen(fs: InProcess, name: str) -> object:
    """What `name` of the huge directory is: nothing, its content, or the names in it."""
    try:
        node = fs.node(f"huge/{name}")
    except FileNotFoundError:
        return None
    return fs.names(f"huge/{name}") if isinstance(node, Dir) else fs.read(f"huge/{name}")


def is_read(fs: InProcess) -> bool:
    directory = fs.node("huge")
    assert isinstance(directory, Dir)
    return directory.index is not None


def test_names_mean_the_same_whether_the_directory_was_read_or_not(fs):
    looked_up = {name: seen(fs, name) for name in KINDS}
    assert looked_up == {
        "plain": b"below",
        "covered": b"above",
        "gone": None,
        "denied": None,
        "back": b"above",
        "merged": ["above", "below"],
        "opaque": ["above"],
        "emptied": ["above"],
        "denied-dir": ["above"],
        "over-file": ["above"],
        "old": ["below"],
        "moved": ["above", "below"],
        "absent": None,
    }
    assert not is_read(fs)
    fs.reopen()
    listed = {name for name in fs.names("huge") if not name.isdigit()}
    assert listed == {name for name, what in looked_up.items() if what is not None}
    assert is_read(fs)
    assert {name: seen(fs, name) for name in KINDS} == looked_up
    fs.reopen()


def test_what_is_deleted_in_a_directory_that_was_not_read_stays_away(fs):
    for kind in ("plain", "covered", "back"):
        remove.unlink(fs.union, fs.node("huge"), kind.encode())
        assert seen(fs, kind) is None
    assert not is_read(fs)
    fs.reopen()
    assert not {"plain", "covered", "back"} & set(fs.names("huge"))
    assert (fs.upper / "huge/plain").is_char_device()
    assert not os.path.lexists(fs.upper / "huge/back")
    fs.reopen()


def test_a_file_that_hides_itself_needs_no_whiteout(fs):
    put(fs.upper / "huge/.wh.plain")
    put(fs.upper / "huge/plain", "above")
    remove.unlink(fs.union, fs.node("huge"), b"plain")
    assert not is_read(fs)
    assert not os.path.lexists(fs.upper / "huge/plain")
    assert (fs.upper / "huge/.wh.plain").exists()
    fs.reopen()


def test_a_directory_that_is_asked_for_many_names_is_read(fs):
    for number in range(4000):
        lookup.lookup(fs.union, fs.node("huge"), f"{number:064}".encode())
    assert is_read(fs)
    fs.reopen()


def test_a_small_directory_is_read_at_once(fs):
    for layer in fs.lowers:
        put(layer / "small/file")
    small = fs.node("small")
    assert fs.read("small/file") == b""
    assert isinstance(small, Dir)
    assert small.index is not None
    assert list(listing.entries(fs.union, small, 2))
    fs.reopen()
