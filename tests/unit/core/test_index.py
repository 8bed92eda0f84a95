"""Listings keep their order and offsets while names come and go."""

import os

import pytest

from tests.unit.core.inprocess import ROOT, InProcess
from unionfs.core.index import FIRST_COOKIE, DirIndex
from unionfs.core.ops import create, files, listing, remove


def index_of(*names: bytes) -> DirIndex:
    index = DirIndex()
    for name in names:
        index.set_upper(name)
    return index


@pytest.mark.parametrize("count", [3, 3000])
def test_offsets_grow_and_stay(count):
    names = [b"%d" % number for number in range(count)]
    index = index_of(*names)
    whole = list(enumerate(names, FIRST_COOKIE))
    assert list(index.after(0)) == whole
    index.remove(b"1")
    index.set_upper(b"1")
    assert list(index.after(FIRST_COOKIE)) == [*whole[2:], (FIRST_COOKIE + count, b"1")]
    index.remove(b"1")
    assert list(index.after(FIRST_COOKIE + count - 2)) == whole[-1:]


def test_a_reader_misses_and_repeats_nothing_while_names_are_deleted():
    index = index_of(*(b"%d" % number for number in range(1000)))
    seen = []
    for _, name in index.after(0):
        seen.append(name)
        index.remove(name)
    assert seen == [b"%d" % number for number in range(1000)]
    assert len(index) == 0


def test_offsets_stay_while_thousands_of_names_come_and_go():
    index = index_of(b"first", b"second")
    (_, _), (second, _) = index.after(0)
    for _ in range(5000):
        index.set_upper(b"temporary")
        index.remove(b"temporary")
    index.set_upper(b"last")
    assert [name for _, name in index.after(second)] == [b"last"]
    assert [name for _, name in index.after(0)] == [b"first", b"second", b"last"]
    assert len(index) == 3


def test_a_deleted_lower_name_is_remembered_as_needing_a_whiteout(tmp_path):
    fs = InProcess(tmp_path)
    (fs.lowers[0] / "f").write_bytes(b"lower")
    (fs.lowers[1] / "other").write_bytes(b"")
    for _ in range(3):
        assert fs.names() == ["f", "other"]
        remove.unlink(fs.union, fs.node(""), b"f")
        assert fs.names() == ["other"]
        fs.reopen()
        assert fs.names() == ["other"]
        fh, _ = create.create(fs.union, fs.node(""), b"f", 0o644, os.O_RDWR, ROOT)
        files.release(fs.union, fh)
    fs.reopen()


def test_readdir_resumes_at_any_offset(tmp_path):
    fs = InProcess(tmp_path)
    for number in range(50):
        (fs.lowers[number % 2] / f"{number}").write_bytes(b"")
    fh = listing.opendir(fs.union, fs.node(""))
    whole = [(offset, name) for offset, name, _, _ in listing.readdir(fs.union, fh, 0)]
    assert len(whole) == 52
    for position, (offset, _) in enumerate(whole):
        rest = [(offset, name) for offset, name, _, _ in listing.readdir(fs.union, fh, offset)]
        assert rest == whole[position + 1 :]
    listing.releasedir(fs.union, fh)
    fs.reopen()
