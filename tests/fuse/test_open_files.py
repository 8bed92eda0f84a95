"""Open files as programs know them from any other filesystem, whatever happens to their names and layers."""

import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = needs.root

FORK = multiprocessing.get_context("fork")
BLOCK = 4096
LIBC = ctypes.CDLL(None, use_errno=True)
FALLOC_FL_PUNCH_HOLE = 3  # with FALLOC_FL_KEEP_SIZE, as it must be


def fill(lower: Path) -> None:
    (lower / "file").write_bytes(b"lower " * 3000)
    (lower / "tool").write_text("#!/bin/sh\necho it ran\n")
    (lower / "tool").chmod(0o755)


@pytest.mark.parametrize("name", ["file", "new"])
def test_an_unlinked_file_lives_while_it_is_open(make_union: MakeUnion, open_fds, name: str) -> None:
    path = make_union(fill).top / name
    fd = open_fds(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"written", 0)
    path.unlink()
    assert os.fstat(fd).st_nlink == 0
    os.pwrite(fd, b"W", 0)
    os.ftruncate(fd, 7)
    os.fchmod(fd, 0o640)
    os.utime(fd, ns=(1, 2))
    os.setxattr(fd, "user.a", b"b")
    os.fsync(fd)
    status = os.fstat(fd)
    assert (status.st_size, status.st_mode & 0o7777, status.st_mtime_ns) == (7, 0o640, 2)
    assert os.getxattr(fd, "user.a") == b"b"
    assert os.pread(fd, 100, 0) == b"Written"
    with open(f"/proc/self/fd/{fd}", "rb") as again:
        assert again.read() == b"Written"
    path.write_text("another")
    assert os.pread(fd, 100, 0) == b"Written"


def test_what_is_deleted_takes_no_space_though_it_was_in_use(make_union: MakeUnion) -> None:
    """More than are freed at once, of files and of directories with whiteouts."""

    def fill_many(lower: Path) -> None:
        for number in range(50):
            (lower / f"dir{number}").mkdir()
            (lower / f"dir{number}/file").touch()

    union = make_union(fill_many)
    for number in range(50):
        os.unlink(union.top / f"dir{number}/file")
        os.rmdir(union.top / f"dir{number}")
    for number in range(200):
        (union.top / f"file{number}").write_bytes(b"x")
        (union.top / f"file{number}").unlink()
    gone = re.compile(f"{re.escape(str(union.upper.parent))}/.* \\(deleted\\)")
    wait_for("no deleted file", lambda: not any(map(gone.fullmatch, links_of(union.driver.pid))))


def links_of(pid: int) -> list[str]:
    """What the descriptors of a process mean."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def test_a_lower_file_unlinked_while_it_is_read(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    fd = open_fds(union.top / "file")
    (union.top / "file").unlink()
    assert os.pread(fd, 6, 6) == b"lower "
    assert os.fstat(fd).st_size == 18_000


def test_a_file_renamed_over_keeps_its_content_for_who_has_it_open(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    fd = open_fds(union.top / "file")
    (union.top / "new").write_text("new")
    os.rename(union.top / "new", union.top / "file")
    assert os.pread(fd, 6, 0) == b"lower "
    assert (union.top / "file").read_text() == "new"


def append(path: Path, letter: bytes, count: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for _ in range(count):
        os.write(fd, letter * 99 + b"\n")
    os.close(fd)


def test_appending_from_several_processes_loses_nothing(make_union: MakeUnion) -> None:
    path = make_union(fill).top / "log"
    path.touch()
    writers = [FORK.Process(target=append, args=(path, letter, 100)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = path.read_bytes().splitlines()
    assert sorted(lines) == sorted([b"a" * 99] * 100 + [b"b" * 99] * 100 + [b"c" * 99] * 100)


def test_appending_to_a_lower_file(make_union: MakeUnion) -> None:
    union = make_union(fill)
    with open(union.top / "file", "ab") as file:
        file.write(b"more")
    assert (union.upper / "file").read_bytes() == b"lower " * 3000 + b"more"


def test_truncating_by_path_by_descriptor_and_at_open(make_union: MakeUnion) -> None:
    union = make_union(lambda lower: [(lower / name).write_bytes(b"x" * 10_000) for name in "abcd"])
    os.truncate(union.top / "a", 5000)
    with open(union.top / "b", "r+b") as file:
        file.truncate(15_000)
        assert os.fstat(file.fileno()).st_size == 15_000
    with open(union.top / "c", "wb") as file:
        assert os.fstat(file.fileno()).st_size == 0
    os.truncate(union.top / "d", 0)
    assert (union.top / "a").read_bytes() == (union.upper / "a").read_bytes() == b"x" * 5000
    assert (union.top / "b").read_bytes() == b"x" * 10_000 + bytes(5000)
    assert [(union.upper / name).stat().st_size for name in "cd"] == [0, 0]


def test_reading_what_was_cut_off_and_grown_again_gives_zeros(make_union: MakeUnion) -> None:
    union = make_union(fill)
    with open(union.top / "file", "r+b") as file:
        assert len(file.read()) == 18_000
        file.truncate(100)
        file.truncate(8192)
        file.seek(0)
        assert file.read() == (b"lower " * 17)[:100] + bytes(8092)


def test_what_an_old_reader_asked_for_does_not_hinder_others_after_copy_up(make_union: MakeUnion, open_fds) -> None:
    """The copy is opened for it without O_DIRECT, which would refuse ranges that aren't aligned."""
    union = make_union(lambda lower: (lower / "file").write_text("old data " * 1000))
    old = open_fds(union.top / "file", os.O_RDONLY | os.O_DIRECT)
    with open(union.top / "file", "r+") as file:
        file.write("new data " * 1000)
    assert os.pread(old, 8, 9) == b"new data"
    assert os.pread(old, 5, 4) == b"data "


def test_direct_io_reads_and_writes_past_the_cache(make_union: MakeUnion, open_fds) -> None:
    union = make_union(lambda lower: (lower / "file").write_bytes(b"a" * 4 * BLOCK))
    fd = open_fds(union.top / "file", os.O_RDWR | os.O_DIRECT)
    with mmap.mmap(-1, BLOCK) as aligned:
        aligned.write(b"b" * BLOCK)
        assert os.pwritev(fd, [aligned], BLOCK) == BLOCK
        assert os.preadv(fd, [aligned], 2 * BLOCK) == BLOCK
        assert aligned[:] == b"a" * BLOCK
    assert (union.top / "file").read_bytes() == b"a" * BLOCK + b"b" * BLOCK + b"a" * 2 * BLOCK


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC])
def test_synchronous_writes_arrive(make_union: MakeUnion, open_fds, flag: int) -> None:
    union = make_union(fill)
    fd = open_fds(union.top / "file", os.O_WRONLY | flag)
    os.write(fd, b"upper")
    assert (union.upper / "file").read_bytes()[:7] == b"upper l"


@pytest.mark.parametrize("options", ["", "volatile"])
def test_syncing_succeeds_on_files_and_directories_of_any_layer(make_union: MakeUnion, open_fds, options: str) -> None:
    union = make_union(fill, options)
    for path, flags in (
        (union.top / "file", os.O_RDONLY),
        (union.top / "file", os.O_RDWR),
        (union.top / "new", os.O_RDWR | os.O_CREAT),
        (union.top, os.O_RDONLY | os.O_DIRECTORY),
    ):
        fd = open_fds(path, flags)
        for _ in range(2):
            os.fsync(fd)
            os.fdatasync(fd)


def test_a_volatile_union_is_asked_to_sync_once(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill, "debug,volatile")
    fd = open_fds(union.top / "new", os.O_RDWR | os.O_CREAT)
    with union.requests() as counted:
        for _ in range(5):
            os.fsync(fd)
    assert counted["fsync"] == 1


def test_large_writes_and_reads_keep_every_byte(make_union: MakeUnion) -> None:
    path = make_union().top / "file"
    content = os.urandom(1 << 20) * 8 + b"end"
    path.write_bytes(content)
    assert path.read_bytes() == content
    with open(path, "r+b") as file:
        for offset in (0, 4095, 131_071, 5_000_001):
            file.seek(offset)
            file.write(b"patch")
    expected = bytearray(content)
    for offset in (0, 4095, 131_071, 5_000_001):
        expected[offset : offset + 5] = b"patch"
    assert path.read_bytes() == bytes(expected)


def test_what_pyfuse3_cannot_carry_is_refused_and_programs_have_a_way_around(
    make_union: MakeUnion, open_fds, binding: str
) -> None:
    if binding != "pyfuse3":
        pytest.skip("of pyfuse3")
    union = make_union(fill)
    fd = open_fds(union.top / "file", os.O_RDWR)
    length = ctypes.c_long(BLOCK)
    assert LIBC.fallocate(fd, FALLOC_FL_PUNCH_HOLE, ctypes.c_long(0), length) == -1
    assert ctypes.get_errno() == errno.EOPNOTSUPP
    os.posix_fallocate(fd, 0, 1 << 20)  # the C library writes instead
    assert os.fstat(fd).st_size == 1 << 20
    assert os.lseek(fd, 0, os.SEEK_DATA) == 0
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 1 << 20
    with pytest.raises(OSError, match="not supported"):
        os.open(union.top, os.O_TMPFILE | os.O_RDWR)


def test_copying_between_files_of_the_union(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    source = open_fds(union.top / "file")
    target = open_fds(union.top / "copy", os.O_RDWR | os.O_CREAT)
    copied = 0
    while count := os.copy_file_range(source, target, 1 << 20):
        copied += count
    assert copied == 18_000
    assert (union.top / "copy").read_bytes() == (union.top / "file").read_bytes()


def test_programs_run_from_it_before_and_after_a_change(make_union: MakeUnion) -> None:
    tool = make_union(fill).top / "tool"
    assert os.popen(str(tool)).read() == "it ran\n"
    tool.write_text(tool.read_text().replace("ran", "changed"))
    assert os.popen(str(tool)).read() == "it changed\n"


# Locks


def try_flock(path: Path) -> bool:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def try_record_lock(path: Path) -> bool:
    with open(path, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
        except BlockingIOError:
            return False
    return True


def in_another_process(function: Callable[[Path], bool], path: Path) -> bool:
    with FORK.Pool(1) as pool:
        return pool.apply(function, (path,))


def test_flock_keeps_others_out_across_copy_up(make_union: MakeUnion) -> None:
    path = make_union(fill).top / "file"
    with open(path, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not in_another_process(try_flock, path)
        with open(path, "r+b") as writer:
            writer.write(b"x")
        assert not in_another_process(try_flock, path)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert in_another_process(try_flock, path)


def test_record_locks_keep_others_out_of_their_range(make_union: MakeUnion) -> None:
    path = make_union(fill).top / "file"
    with open(path, "r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX, 10, 0)
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 10, 0)
        assert in_another_process(try_record_lock, path) is False
        assert struct.unpack("hhqqi4x", fcntl.fcntl(held, fcntl.F_GETLK, asked))[0] == fcntl.F_UNLCK, "ours"
        fcntl.lockf(held, fcntl.LOCK_UN, 10, 0)
        assert in_another_process(try_record_lock, path)
