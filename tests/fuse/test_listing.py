"""Listings as programs read them: in pieces, by offset, while names come and go."""

import ctypes
import os
import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fuse.conftest import MakeUnion
from tests.semantics.sidebyside import EXCHANGE, renameat2
from tests.support import needs

pytestmark = needs.root

LIBC = ctypes.CDLL(None, use_errno=True)
SMALL_BUFFER = 1024
TYPES = {4: os.path.isdir, 8: os.path.isfile, 10: os.path.islink}


class Entry(NamedTuple):
    ino: int
    offset: int
    type: int
    name: str


def getdents(fd: int, size: int = SMALL_BUFFER) -> list[Entry]:
    """One call of getdents64(2): the next entries, none at the end."""
    buffer = ctypes.create_string_buffer(size)
    count = LIBC.syscall(217 if os.uname().machine == "x86_64" else 61, fd, buffer, size)
    assert count >= 0, os.strerror(ctypes.get_errno())
    entries, place = [], 0
    while place < count:
        ino, offset, length, kind = struct.unpack_from("<QqHB", buffer.raw, place)
        name = buffer.raw[place + 19 : place + length].split(b"\0")[0]
        entries.append(Entry(ino, offset, kind, os.fsdecode(name)))
        place += length
    return entries


def rest(fd: int) -> list[Entry]:
    """All entries from here to the end."""
    found: list[Entry] = []
    while more := getdents(fd):
        found += more
    return found


def names(entries: list[Entry]) -> list[str]:
    return [entry.name for entry in entries]


def many(count: int):
    def fill(lower: Path) -> None:
        (lower / "dir").mkdir()
        for number in range(count):
            (lower / f"dir/file-{number:05}").touch()

    return fill


@pytest.fixture
def listed(make_union: MakeUnion, open_fds):
    """A directory of 2000 lower names and 20 upper ones, and a descriptor of it."""
    union = make_union(many(2000))
    for number in range(20):
        (union.top / f"dir/new-{number}").touch()
    return union.top / "dir", open_fds(union.top / "dir", os.O_RDONLY | os.O_DIRECTORY)


def test_each_name_comes_once_with_offsets_that_grow(listed) -> None:
    path, fd = listed
    entries = rest(fd)
    assert len(entries) == len(set(names(entries))) == 2022
    assert {".", ".."} <= set(names(entries))
    offsets = [entry.offset for entry in entries]
    assert offsets == sorted(set(offsets))
    assert sorted(os.listdir(path)) == sorted(set(names(entries)) - {".", ".."})


def test_type_and_number_agree_with_lstat(make_union: MakeUnion, open_fds) -> None:
    def fill(lower: Path) -> None:
        (lower / "dir").mkdir()
        (lower / "file").touch()
        (lower / "link").symlink_to("file")

    union = make_union(fill)
    (union.top / "made").mkdir()
    (union.top / "file").write_text("copied up")
    for entry in rest(open_fds(union.top, os.O_RDONLY | os.O_DIRECTORY)):
        if entry.name != "..":
            assert os.lstat(union.top / entry.name).st_ino == entry.ino
            assert TYPES[entry.type](union.top / entry.name)


def test_type_and_number_agree_with_lstat_for_who_only_gets_names(make_union: MakeUnion, open_fds) -> None:
    def fill(lower: Path) -> None:
        for directory in ("a", "b", "c", "d", "e", "kinds"):
            for number in range(3):
                (lower / directory / "in-it").mkdir(parents=True, exist_ok=True)
                (lower / directory / f"{number}").touch()
        (lower / "kinds/link").symlink_to("0")
        (lower / "kinds/hard").hardlink_to(lower / "kinds/0")

    union = make_union(fill)
    kinds = union.top / "kinds"
    (kinds / "made").mkdir()
    (kinds / "1").write_text("copied up")
    (kinds / "in-it/new").touch()
    (kinds / "2").rename(kinds / "moved")
    for directory in "abcde":
        os.listdir(union.top / directory)
    entries = rest(open_fds(kinds, os.O_RDONLY | os.O_DIRECTORY))
    assert set(names(entries)) == {".", "..", "0", "1", "moved", "link", "hard", "made", "in-it"}
    for entry in entries:
        assert os.lstat(kinds / entry.name).st_ino == entry.ino
        assert TYPES[entry.type](kinds / entry.name)


def test_seeking_to_any_offset_goes_on_behind_that_entry(listed) -> None:
    _, fd = listed
    entries = rest(fd)
    for place in (0, 1, 2, 7, 500, 1999, 2020, 2021):
        os.lseek(fd, entries[place].offset, os.SEEK_SET)
        assert names(rest(fd)) == names(entries[place + 1 :])


def test_an_offset_holds_though_other_names_go(listed) -> None:
    path, fd = listed
    entries = rest(fd)
    middle = entries[1000]
    for entry in entries[2:1000:2] + entries[1001::3]:
        (path / entry.name).unlink()
    os.lseek(fd, middle.offset, os.SEEK_SET)
    gone = set(names(entries[1001::3]))
    # whether those are shown that went since is left open by POSIX: the kernel may have the listing still
    assert [name for name in names(rest(fd)) if name not in gone] == [
        name for name in names(entries[1001:]) if name not in gone
    ]


def test_removing_while_listing_skips_nothing(listed) -> None:
    """What `rm -r` does."""
    path, fd = listed
    while found := getdents(fd):
        for entry in found:
            if entry.name not in (".", ".."):
                (path / entry.name).unlink()
    assert os.listdir(path) == []
    path.rmdir()


def test_adding_while_listing_repeats_nothing(listed) -> None:
    path, fd = listed
    found = getdents(fd)
    old = set(os.listdir(path))
    for number in range(300):
        (path / f"added-{number}").touch()
    found += rest(fd)
    assert len(names(found)) == len(set(names(found)))
    assert old <= set(names(found))


def test_rewinding_shows_what_is_new(listed) -> None:
    path, fd = listed
    rest(fd)
    (path / "later").touch()
    (path / "file-00000").unlink()
    os.lseek(fd, 0, os.SEEK_SET)
    again = names(rest(fd))
    assert "later" in again
    assert "file-00000" not in again


def test_two_readers_of_one_directory_do_not_disturb_each_other(listed, open_fds) -> None:
    path, fd = listed
    other = open_fds(path, os.O_RDONLY | os.O_DIRECTORY)
    first, second = getdents(fd), getdents(other)
    second += rest(other)
    first += rest(fd)
    assert names(first) == names(second)


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_directory_that_moved_lists_its_new_parent(make_union: MakeUnion, open_fds, exchanged: bool) -> None:
    def fill(lower: Path) -> None:
        (lower / "one/moved").mkdir(parents=True)
        (lower / "other/counterpart").mkdir(parents=True)

    def parents(path: Path) -> list[int]:
        return [entry.ino for entry in rest(open_fds(path, os.O_RDONLY | os.O_DIRECTORY)) if entry.name == ".."]

    union = make_union(fill)
    one, other = union.top / "one", union.top / "other"
    assert parents(one / "moved") == [one.stat().st_ino]
    assert parents(other / "counterpart") == [other.stat().st_ino]
    renameat2(one / "moved", other / "counterpart" if exchanged else other / "moved", EXCHANGE if exchanged else 0)
    assert parents(other / ("counterpart" if exchanged else "moved")) == [other.stat().st_ino]
    if exchanged:
        assert parents(one / "moved") == [one.stat().st_ino]


def test_a_directory_removed_while_open_lists_nothing(make_union: MakeUnion, open_fds) -> None:
    union = make_union(lambda lower: (lower / "dir").mkdir())
    fd = open_fds(union.top / "dir", os.O_RDONLY | os.O_DIRECTORY)
    (union.top / "dir").rmdir()
    assert os.listdir(fd) == []
    with pytest.raises(FileNotFoundError):
        os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)


@pytest.mark.slow
def test_a_directory_of_50000_names_takes_one_request_for_many(make_union: MakeUnion) -> None:
    union = make_union(many(50_000), "debug")
    with union.requests() as counted:
        assert len(os.listdir(union.top / "dir")) == 50_000
    assert counted["readdir"] < 3000, "of 4096 bytes and more"
    assert counted["lookup"] == 1
