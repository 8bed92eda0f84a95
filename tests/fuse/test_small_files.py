"""Small files of lowers: the kernel gets their content when they are opened, and it is always the right one."""

import ctypes
import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuse.conftest import Gate, MakeUnion, direct_only
from tests.support import needs
from tests.support.mounts import MountFactory

pytestmark = [needs.root, direct_only]  # pyfuse3 could, but answers each read from memory as fast

SIZES = (1, 4095, 4096, 4097, 20_000, 65_536)
PROMPT_S = 5


def content(size: int) -> bytes:
    return (b"%d bytes " % size * size)[:size]


def fill(lower: Path) -> None:
    for size in (0, 65_537, *SIZES):
        (lower / f"{size}").write_bytes(content(size))


def forget_pages(path: Path, *, written: bool = False) -> None:
    """Have the kernel drop the file's pages, as it does when it needs memory; `written`: once they are on disk."""
    fd = os.open(path, os.O_RDONLY)
    if written:
        os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


@pytest.mark.parametrize("size", SIZES)
def test_a_small_file_is_never_asked_for(make_union: MakeUnion, size: int) -> None:
    union = make_union(fill, "debug")
    path = union.top / f"{size}"
    path.stat()
    for _ in range(2):
        with union.requests() as counted:
            assert path.read_bytes() == content(size)
            path.stat()  # after a READ the kernel would ask for the time of access
        assert counted == {"open": 1}


@pytest.mark.parametrize("size", [0, 65_537])
def test_an_empty_file_and_a_larger_one_are_read_as_ever(make_union: MakeUnion, size: int) -> None:
    union = make_union(fill, "debug")
    with union.requests() as counted:
        assert (union.top / f"{size}").read_bytes() == content(size)
    assert bool(counted["read"]) == bool(size)


def test_behind_the_end_of_its_last_page_are_zeros(make_union: MakeUnion) -> None:
    union = make_union(fill)
    assert (union.top / "65536").read_bytes()[-1:] != b"\0"  # what was given before doesn't show
    with open(union.top / "4097", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == content(4097)
    os.truncate(union.top / "4097", 8192)
    assert (union.top / "4097").read_bytes() == content(4097) + bytes(4095)


@pytest.mark.parametrize("opened", ["before", "after"])
def test_pages_that_the_kernel_dropped_are_read_again(make_union: MakeUnion, open_fds, opened: str) -> None:
    union = make_union(fill, "debug")
    path = union.top / "20000"
    early = open_fds(path)
    forget_pages(path)
    reader = early if opened == "before" else open_fds(path)
    with union.requests() as counted:
        assert os.pread(reader, 20_000, 0) == content(20_000)
    assert counted["read"] >= 1


def test_who_opened_it_again_sees_what_is_written_after_copy_up(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    path = union.top / "20000"
    path.read_bytes()
    reader = open_fds(path)  # of which the layer knows nothing
    with open(path, "r+b") as writer:
        writer.write(b"new")
        writer.flush()
        assert os.pread(reader, 6, 0) == b"new" + content(20_000)[3:6]
        forget_pages(path)
        assert os.pread(reader, 6, 0) == b"new" + content(20_000)[3:6]
    assert (union.lower / "20000").read_bytes() == content(20_000)


def test_who_opened_it_again_can_read_it_when_it_is_deleted(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    path = union.top / "20000"
    path.read_bytes()
    reader = open_fds(path)
    path.unlink()
    os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(reader, 20_000, 0) == content(20_000)
    assert os.lseek(reader, 0, os.SEEK_DATA) == 0
    assert os.fstat(reader).st_size == 20_000


def test_it_never_changes_for_many_who_open_it_while_its_pages_go(make_union: MakeUnion) -> None:
    union = make_union(fill)

    def read_all(_: int) -> None:
        for _ in range(150):
            for size in SIZES:
                assert (union.top / f"{size}").read_bytes() == content(size)
                forget_pages(union.top / f"{size}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_all, range(4)))


@pytest.mark.parametrize("gate", [10_000], indirect=True)
def test_opening_it_on_a_filesystem_that_may_wait_long_stops_nobody(
    gate: Gate, public_path: Path, union_mount: MountFactory
) -> None:
    """The layer's reads are held up; the file is a small one."""
    lower = public_path / "lower"
    lower.mkdir()
    (lower / "other").write_text("other")
    top = union_mount([lower, gate.path], public_path / "upper", at=public_path / "merged").path
    with ThreadPoolExecutor() as pool:
        reader = pool.submit((top / "big").read_bytes)
        gate.wait_for_reader()
        assert pool.submit((top / "other").read_text).result(PROMPT_S) == "other"
        gate.open()
        assert len(reader.result(PROMPT_S)) == gate.size_bytes


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "looked up"])
def test_the_disk_reads_what_follows_a_file_that_was_read(make_union: MakeUnion, is_read: bool) -> None:
    union = make_union(fill)
    first, second, third, last = (f"{size}" for size in (4096, 20_000, 65_536, 65_537))
    for name in (second, third, last):
        forget_pages(union.lower / name, written=True)
    if is_in_memory(union.lower / third):
        needs.missing("temporary files on a disk")
    (union.top / first).read_bytes()
    (union.top / second).read_bytes() if is_read else (union.top / second).stat()
    (union.top / third).stat()
    (union.top / last).read_bytes()  # which the disk has after the third, if it was to read that
    deadline = time.monotonic() + (PROMPT_S if is_read else 0)
    while not is_in_memory(union.lower / third) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_in_memory(union.lower / third) == is_read


def is_in_memory(path: Path) -> bool:
    """Whether the page cache has the first page of a file; asking doesn't change that."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    found = ctypes.c_ubyte()
    with open(path, "rb") as file:
        address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
    assert libc.mincore(ctypes.c_void_p(address), mmap.PAGESIZE, ctypes.byref(found)) == 0
    libc.munmap(ctypes.c_void_p(address), mmap.PAGESIZE)
    return bool(found.value & 1)
