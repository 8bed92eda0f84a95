"""A directory that changes while it is read: every name that was there all the time is listed once."""

import ctypes
import os
import struct
from functools import partial
from pathlib import Path

import pytest

from tests.concurrency import workers
from tests.support import needs

pytestmark = [needs.root]

NAMES = 300
READS = 20
CHANGES = 600
_NR_GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(params=["merged", "upper", "lower"])
def crowd(request, tmp_path, union_mount) -> Path:
    """A directory of NAMES stable names, in one layer or in two."""
    top, bottom = tmp_path / "top", tmp_path / "bottom"
    for layer in (top, bottom):
        (layer / "crowd").mkdir(parents=True)
    for number in range(NAMES):
        layer = (top, bottom)[number % 2] if request.param == "merged" else bottom
        if request.param != "upper":
            (layer / f"crowd/stable{number}").touch()
    if request.param == "lower":
        (top / "crowd").rmdir()
    path: Path = union_mount([top, bottom], tmp_path / "upper").path / "crowd"
    if request.param == "upper":
        path.rmdir()
        path.mkdir()
        for number in range(NAMES):
            (path / f"stable{number}").touch()
    return path


def entries(fd: int, size: int) -> list[tuple[str, int]]:
    """One getdents64: (name, offset of the next)."""
    buffer = ctypes.create_string_buffer(size)
    read = LIBC.syscall(_NR_GETDENTS64, fd, buffer, size)
    if read == -1:
        raise OSError(ctypes.get_errno(), "getdents64")
    found, at = [], 0
    while at < read:
        _, offset, length = struct.unpack_from("=QqH", buffer, at)
        found.append((buffer.raw[at + 19 : at + length].split(b"\0")[0].decode(), offset))
        at += length
    return found


def stable(names: list[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("stable"))


ALL = sorted(f"stable{number}" for number in range(NAMES))


def test_stable_names_are_listed_once_whatever_else_comes_and_goes(crowd):
    def change(process: int) -> None:
        for number in range(CHANGES):
            path = crowd / f"{process}-{number % 40}"
            if path.exists():
                path.unlink() if number % 3 else path.rename(crowd / f"{process}-other{number % 7}")
            else:
                path.touch()

    def read(size: int) -> None:
        for _ in range(READS):
            fd = os.open(crowd, os.O_RDONLY | os.O_DIRECTORY)
            names = []
            while found := entries(fd, size):
                names += [name for name, _ in found]
            os.close(fd)
            assert stable(names) == ALL

    workers.run([*(partial(change, process) for process in range(4)), *(partial(read, size) for size in (80, 4096))])


def test_reading_goes_on_at_an_offset_from_before_the_change(crowd):
    """As an NFS server or telldir(3) does: nothing is repeated or missed, also when the entry itself is gone."""
    fd = os.open(crowd, os.O_RDONLY | os.O_DIRECTORY)
    (crowd / "0-gone").touch()
    names = []
    removed = False
    while found := entries(fd, 200):
        names += [name for name, _ in found]
        if not removed and len(names) > NAMES // 3:
            removed = True
            (crowd / "0-gone").unlink()
            (crowd / "zz-new").touch()
        os.lseek(fd, found[-1][1], os.SEEK_SET)
    assert stable(names) == ALL
    os.close(fd)


def test_removing_what_is_listed_while_listing_removes_all(crowd):
    """The pattern of rm -r, with a small buffer."""
    fd = os.open(crowd, os.O_RDONLY | os.O_DIRECTORY)
    while found := entries(fd, 300):
        for name, _ in found:
            if name not in (".", ".."):
                os.unlink(name, dir_fd=fd)
    os.close(fd)
    assert os.listdir(crowd) == []
    crowd.rmdir()


def test_a_rewound_directory_shows_what_is_new(crowd):
    fd = os.open(crowd, os.O_RDONLY | os.O_DIRECTORY)
    assert stable(os.listdir(fd)) == ALL
    (crowd / "new").touch()
    (crowd / "stable0").unlink()
    os.lseek(fd, 0, os.SEEK_SET)
    names = []
    while found := entries(fd, 4096):
        names += [name for name, _ in found]
    assert "new" in names
    assert "stable0" not in names
    os.close(fd)
