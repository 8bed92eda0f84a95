"""Listings (rules 17 to 23)."""

import ctypes
import os
import stat
import struct

from tests.semantics.sidebyside import (
    EXCHANGE,
    TIMES,
    names,
    put,
    renameat2,
    run_beside,
    whiteout,
)
from tests.support import needs

pytestmark = [needs.root]

KINDS = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK


def test_17_to_23_listings(tmp_path):
    def build(layers):
        for number in range(300):
            put(layers[number % 2] / f"dir/{number:03}")
        put(layers[0] / "dir/same")
        put(layers[1] / "dir/same")

    def act(root):
        directory = root / "dir"
        seen = []
        with os.scandir(directory) as entries:
            for entry in entries:
                st = entry.stat(follow_symlinks=False)
                seen.append((entry.name, entry.inode() == st.st_ino, entry.is_file(follow_symlinks=False)))
        fd = os.open(directory, os.O_RDONLY)
        first = os.listdir(fd)
        put(directory / "created")
        os.unlink(directory / "007")
        os.lseek(fd, 0, os.SEEK_SET)
        again = set(os.listdir(fd))
        os.close(fd)
        removed = 0
        with os.scandir(directory) as entries:
            for entry in entries:
                os.unlink(directory / entry.name)
                removed += 1
        return sorted(seen), len(first), "created" in again, "007" in again, removed, names(directory)

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_18_names_alone_have_the_numbers_and_types_of_their_objects(tmp_path):
    """To a lister who has looked at nothing in some directories before."""

    def build(layers):
        for directory in "abcde":
            put(layers[1] / directory / "file")
        for number, layer in enumerate(layers):
            here = layer / "dir"
            put(here / f"file{number}")
            (here / f"hard{number}").hardlink_to(here / f"file{number}")
            (here / f"link{number}").symlink_to("file0")
            put(here / f"dir{number}/in-it")
            put(here / "merged" / f"in-it{number}")

    def act(root):
        directory = root / "dir"
        for name in "abcde":
            os.listdir(root / name)
        put(directory / "file1", "copied up")
        put(directory / "merged/in-it0", "copied up")
        put(directory / "new")
        os.rename(directory / "dir1", directory / "moved")
        renameat2(directory / "hard0", directory / "dir0", EXCHANGE)
        with os.scandir(directory) as found:
            entries = list(found)
        seen = []
        for entry in entries:
            kinds = entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False), entry.is_symlink()
            st = os.lstat(directory / entry.name)
            is_right = entry.inode() == st.st_ino, kinds == tuple(stat.S_IFMT(st.st_mode) == kind for kind in KINDS)
            seen.append((entry.name, *is_right))
        return sorted(seen)

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_22_a_tiny_buffer_gives_the_same_names(tmp_path):
    def build(layers):
        for number in range(100):
            put(layers[number % 2] / f"dir/name-{number:03}")
        whiteout(layers[0] / "dir/name-001")

    def act(root):
        fd = os.open(root / "dir", os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(_getdents(fd, 64)), len(_getdents(fd, 64))
        finally:
            os.close(fd)

    run_beside(tmp_path, build, act)


def _getdents(fd: int, size: int) -> list[bytes]:
    """Names read with a buffer of `size` bytes, room for one or two: getdents64(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(size)
    found = []
    while (count := libc.syscall(217, fd, buffer, size)) > 0:
        at = 0
        while at < count:
            (length,) = struct.unpack_from("H", buffer.raw, at + 16)
            found.append(buffer.raw[at + 19 : at + length].split(b"\0")[0])
            at += length
    assert count == 0, os.strerror(ctypes.get_errno())
    return found
