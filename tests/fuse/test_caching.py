"""What the kernel is told it keeps: nothing is asked twice, and nothing it keeps is ever wrong."""

import mmap
import os
import time
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion
from tests.support import needs

pytestmark = needs.root

NOTHING: dict[str, int] = {}
LARGE = b"content " * 10_000


def fill(lower: Path) -> None:
    (lower / "dir").mkdir()
    for number in range(100):
        (lower / f"dir/{number}").write_text(f"{number}")
    (lower / "file").write_text("content")
    (lower / "large").write_bytes(LARGE)
    (lower / "link").symlink_to("file")
    os.link(lower / "file", lower / "other")


@pytest.mark.parametrize("call", [
    lambda top: os.stat(top / "dir/5"),
    lambda top: os.stat(top / "link"),
    lambda top: os.path.exists(top / "dir/absent"),
    lambda top: (top / "link/absent").exists(),
])
def test_the_same_question_is_asked_once(make_union: MakeUnion, call) -> None:
    union = make_union(fill, "debug")
    with union.requests() as first:
        call(union.top)
    assert first
    time.sleep(1.1)  # the kernel's own default would be one second
    with union.requests() as second:
        call(union.top)
    # pyfuse3 can't have symlinks cached: that one question is asked again
    del second["readlink"]
    assert second == NOTHING


@pytest.mark.uses("DO_READDIRPLUS")
def test_a_listing_brings_the_attributes_along(make_union: MakeUnion) -> None:
    union = make_union(fill, "debug")
    os.listdir(union.top / "dir")
    with union.requests() as counted:
        for number in range(100):
            assert os.stat(union.top / f"dir/{number}").st_size == len(str(number))
    assert counted == NOTHING


def test_content_is_read_once_though_opened_twice(make_union: MakeUnion) -> None:
    union = make_union(fill, "debug")
    with union.requests() as first:
        assert (union.top / "large").read_bytes() == LARGE
    assert first["read"] == 1
    os.stat(union.top / "large")  # the kernel asks for the time of the access, once after what it really read
    with union.requests() as second:
        assert (union.top / "large").read_bytes() == LARGE
    assert second == {"open": 1}


def test_closing_a_file_asks_nothing(make_union: MakeUnion) -> None:
    union = make_union(fill, "debug")
    (union.top / "file").read_text()
    before = union.mounted.log_text().count("flush(")
    for _ in range(5):
        (union.top / "file").read_text()
    assert union.mounted.log_text().count("flush(") == before <= 1


@pytest.mark.parametrize("options", ["timeout=0", "timeout=0.2"])
def test_a_timeout_makes_the_kernel_ask_again(make_union: MakeUnion, options: str) -> None:
    union = make_union(fill, f"debug,{options}")
    os.stat(union.top / "file")
    time.sleep(0.25)
    with union.requests() as counted:
        os.stat(union.top / "file")
    assert counted


def test_a_name_known_to_be_absent_is_seen_once_it_is_made(make_union: MakeUnion) -> None:
    union = make_union(fill)
    for name, make in (
        ("a", lambda path: path.touch()),
        ("b", lambda path: path.mkdir()),
        ("c", lambda path: path.symlink_to("file")),
        ("d", lambda path: os.link(union.top / "file", path)),
        ("e", lambda path: os.mkfifo(path)),
        ("f", lambda path: os.rename(union.top / "dir/7", path)),
    ):
        path = union.top / name
        assert not path.exists()
        make(path)
        assert os.lstat(path)
        assert name in os.listdir(union.top)


def test_a_name_that_was_taken_away_is_gone(make_union: MakeUnion) -> None:
    union = make_union(fill)
    top = union.top
    for path in (top / "file", top / "dir/1", top / "dir/2"):
        path.stat()
    (top / "file").unlink()
    os.rename(top / "dir/1", top / "dir/2")
    assert [path.exists() for path in (top / "file", top / "dir/1", top / "dir/2")] == [False, False, True]
    assert (top / "dir/2").read_text() == "1"


def test_attributes_are_fresh_by_each_name_of_a_hard_link(make_union: MakeUnion) -> None:
    union = make_union(fill)
    one, other = union.top / "file", union.top / "other"
    assert (one.stat().st_nlink, other.stat().st_nlink) == (2, 2)
    one.write_text("longer content")
    assert other.stat().st_size == 14
    assert other.read_text() == "longer content"
    other.chmod(0o600)
    assert one.stat().st_mode & 0o777 == 0o600
    one.unlink()
    assert other.stat().st_nlink == 1


def test_copy_up_shows_in_ctime_at_once(make_union: MakeUnion) -> None:
    union = make_union(fill)
    before = (union.top / "file").stat()
    with open(union.top / "file", "r+b"):
        pass
    after = (union.top / "file").stat()
    assert after.st_ctime_ns > before.st_ctime_ns
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_times_of_a_directory_move_with_its_names(make_union: MakeUnion) -> None:
    union = make_union(fill)
    seen = [(union.top / "dir").stat().st_mtime_ns]
    for change in (
        lambda: (union.top / "dir/new").touch(),
        lambda: (union.top / "dir/1").unlink(),
        lambda: os.rename(union.top / "dir/2", union.top / "two"),
        lambda: os.rename(union.top / "two", union.top / "dir/2"),
    ):
        time.sleep(0.02)
        change()
        seen.append((union.top / "dir").stat().st_mtime_ns)
    assert seen == sorted(set(seen))


def test_a_reader_and_a_mapping_from_before_copy_up_see_what_is_written(make_union: MakeUnion) -> None:
    union = make_union(lambda lower: (lower / "file").write_bytes(b"old " * 4096))
    reader = os.open(union.top / "file", os.O_RDONLY)
    try:
        with mmap.mmap(reader, 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[:4] == b"old "
            with open(union.top / "file", "r+b") as writer:
                writer.write(b"new ")
            assert os.pread(reader, 4, 0) == b"new "
            assert mapped[:4] == b"new "
            assert os.pread(reader, 4, 8192) == b"old "
    finally:
        os.close(reader)


def test_writes_through_a_mapping_reach_the_upper(make_union: MakeUnion) -> None:
    union = make_union(lambda lower: (lower / "file").write_bytes(bytes(20_000)))
    with open(union.top / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[10_000:10_003] = b"new"
        mapped.flush()
        assert (union.upper / "file").read_bytes()[9_999:10_004] == b"\0new\0"
    assert (union.top / "file").read_bytes()[10_000:10_003] == b"new"
    assert (union.lower / "file").read_bytes() == bytes(20_000)


def test_the_times_of_a_file_written_through_a_mapping_move(make_union: MakeUnion) -> None:
    union = make_union(lambda lower: (lower / "file").write_bytes(bytes(20_000)))
    path = union.top / "file"
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
        os.utime(path, (1, 1))
        assert os.fstat(file.fileno()).st_mtime == path.stat().st_mtime == 1
        mapped[0:3] = b"new"
        mapped.flush()
        assert os.fstat(file.fileno()).st_mtime == path.stat().st_mtime > 1
    os.utime(path, (1, 1))
    assert path.stat().st_mtime == 1
    mapped[10_000:10_003] = b"new"  # the file is closed, the mapping isn't
    mapped.flush()
    assert path.stat().st_mtime > 1
    mapped.close()


def test_attributes_of_a_file_that_nobody_has_mapped_any_more_are_kept(make_union: MakeUnion) -> None:
    union = make_union(fill, "debug")
    path = union.top / "file"
    for _ in range(10):  # who closes it may be slower than the request that says so
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0:1] = b"x"
        with union.requests():
            path.stat()
        with union.requests() as counted:
            path.stat()
        if counted == NOTHING:
            return
    raise AssertionError(f"asked each time: {counted}")


def test_the_space_of_a_file_made_and_filled_through_a_mapping_is_seen(make_union: MakeUnion) -> None:
    union = make_union()
    with open(union.top / "file", "x+b") as file:
        file.truncate(1 << 20)
        with mmap.mmap(file.fileno(), 0) as mapped:
            assert os.fstat(file.fileno()).st_blocks == 0
            mapped[:] = b"x" * (1 << 20)
            mapped.flush()
            os.fsync(file.fileno())  # some filesystems find room late
            assert os.fstat(file.fileno()).st_blocks >= 2048
