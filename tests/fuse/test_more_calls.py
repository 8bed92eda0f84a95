"""Calls that the direct binding carries and pyfuse3 can't."""

import array
import ctypes
import errno
import fcntl
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion, as_user, direct_only
from tests.support import needs
from unionfs.linux import fsops

pytestmark = [needs.root, direct_only]  # pyfuse3 has no such requests

BLOCK = 4096
LIBC = ctypes.CDLL(None, use_errno=True)
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_ZERO_RANGE = 1, 2, 8, 16
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
FS_APPEND_FL, FS_NODUMP_FL = 0x20, 0x40


def fill(lower: Path) -> None:
    with open(lower / "sparse", "wb") as file:
        file.write(b"data")
        file.seek(1 << 20)
        file.write(b"more")
    (lower / "file").write_bytes(b"lower" * BLOCK)
    (lower / "dir").mkdir()
    for number in range(50):
        (lower / f"dir/{number}").write_text(f"{number}")
    (lower / "link").symlink_to("file")


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR])
def test_holes_are_found_in_files_of_every_layer(make_union: MakeUnion, open_fds, flags: int) -> None:
    union = make_union(fill)
    fd = open_fds(union.top / "sparse", flags)
    assert os.lseek(fd, 0, os.SEEK_HOLE) == BLOCK
    assert os.lseek(fd, BLOCK, os.SEEK_DATA) == 1 << 20
    with pytest.raises(OSError) as error:
        os.lseek(fd, 1 << 21, os.SEEK_DATA)
    assert error.value.errno == errno.ENXIO


def test_space_is_allocated_punched_and_zeroed(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    fd = open_fds(union.top / "file", os.O_RDWR)
    fsops.fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20)
    assert (os.fstat(fd).st_size, os.fstat(fd).st_blocks * 512) == (5 * BLOCK, 1 << 20)
    fsops.fallocate(fd, 0, 0, 1 << 20)
    assert os.fstat(fd).st_size == 1 << 20
    fsops.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK)
    assert os.pread(fd, BLOCK + 5, 0) == bytes(BLOCK) + (b"lower" * 2)[BLOCK % 5 :][:5]
    fsops.fallocate(fd, FALLOC_FL_ZERO_RANGE, BLOCK, BLOCK)
    assert os.pread(fd, 2 * BLOCK, 0) == bytes(2 * BLOCK)
    assert (union.lower / "file").read_bytes() == b"lower" * BLOCK


def test_a_hole_punched_is_seen_by_who_reads_through_the_cache(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    reader = open_fds(union.top / "file")
    assert os.pread(reader, 5, 0) == b"lower"
    writer = open_fds(union.top / "file", os.O_RDWR)
    fsops.fallocate(writer, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK)
    assert os.pread(reader, 5, 0) == bytes(5)


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
def test_ranges_are_copied_by_the_layers_filesystem(make_union: MakeUnion, open_fds, flags: int) -> None:
    """Rule 92."""
    union = make_union(fill, "debug")
    source, target = open_fds(union.top / "file"), open_fds(union.top / "new", flags | os.O_CREAT)
    with union.requests() as counted:
        assert os.copy_file_range(source, target, 2 * BLOCK, 0, 10) == 2 * BLOCK
    assert (counted["read"], counted["write"]) == (0, 0)
    assert (union.top / "new").read_bytes() == bytes(10) + (b"lower" * BLOCK)[: 2 * BLOCK]


@pytest.mark.uses("TMPFILE")
def test_a_file_without_name_gets_one(make_union: MakeUnion) -> None:
    """Rule 91."""
    union = make_union(fill)
    fd = os.open(union.top / "dir", os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.write(fd, b"content")
        assert os.fstat(fd).st_nlink == 0
        assert len(os.listdir(union.top / "dir")) == 50
        here = os.open("/proc/self/fd", os.O_PATH)
        os.link(f"{fd}", union.top / "dir/named", src_dir_fd=here, follow_symlinks=True)
        os.close(here)
        assert os.fstat(fd).st_nlink == 1
    finally:
        os.close(fd)
    assert (union.top / "dir/named").read_bytes() == b"content"
    assert (union.upper / "dir/named").stat().st_mode & 0o7777 == 0o600


@pytest.mark.uses("TMPFILE")
def test_a_file_without_name_belongs_to_who_asked_and_goes_when_it_is_closed(make_union: MakeUnion) -> None:
    union = make_union(lambda lower: (lower.chmod(0o777), (lower / "dir").mkdir(), (lower / "dir").chmod(0o777)))
    script = """
os.umask(0o077)
fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o666)
found = os.fstat(fd)
assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 1235, 0o600), found
"""
    assert as_user(1234, script, union.top / "dir", gid=1235) == ""
    assert os.listdir(union.upper / "dir") == []


@pytest.mark.uses("STATX")
def test_time_of_birth(make_union: MakeUnion) -> None:
    union = make_union(fill)
    before = time.time_ns() - 20_000_000
    (union.top / "new").touch()
    for name in ("new", "file", "dir"):
        layer = union.upper if name == "new" else union.lower
        assert fsops.birth_ns(-100, os.fsencode(union.top / name)) == fsops.birth_ns(-100, os.fsencode(layer / name))
    born = fsops.birth_ns(-100, os.fsencode(union.top / "new"))
    assert born is not None
    assert before <= born <= time.time_ns()


def test_inode_flags(make_union: MakeUnion, open_fds) -> None:
    """Rule 43."""
    union = make_union(fill)
    for name in ("file", "dir"):
        fd = open_fds(union.top / name)
        flags = array.array("i", [0])
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, flags)
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, array.array("i", [flags[0] | FS_NODUMP_FL]))
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, flags)
        assert flags[0] & FS_NODUMP_FL
        attributes = fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28))
        fcntl.ioctl(fd, FS_IOC_FSSETXATTR, attributes)
        for layer, expected in ((union.upper, True), (union.lower, False)):
            below = open_fds(layer / name)
            fcntl.ioctl(below, FS_IOC_GETFLAGS, flags)
            assert bool(flags[0] & FS_NODUMP_FL) == expected


def test_a_file_only_to_be_appended_to(make_union: MakeUnion) -> None:
    union = make_union(fill)
    subprocess.run(["chattr", "+a", union.top / "file"], check=True)
    try:
        with open(union.top / "file", "ab") as file:
            file.write(b"end")
        with pytest.raises(PermissionError):
            os.open(union.top / "file", os.O_RDWR)
    finally:
        subprocess.run(["chattr", "-a", union.top / "file"], check=True)


def test_other_ioctls_are_refused(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    with pytest.raises(OSError) as error:
        fcntl.ioctl(open_fds(union.top / "file"), 0x5401, bytes(64))
    assert error.value.errno == errno.ENOTTY


@pytest.mark.uses("DONT_MASK", "POSIX_ACL")
def test_default_acls_take_the_place_of_the_umask(make_union: MakeUnion) -> None:
    union = make_union(fill)
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx,g::rwx,o::r", union.top / "dir"], check=True)
    before = os.umask(0o077)
    try:
        (union.top / "dir/new").touch(0o666)
        (union.top / "dir/sub").mkdir(0o777)
        (union.top / "plain").touch(0o666)
    finally:
        os.umask(before)
    modes = [(union.top / name).stat().st_mode & 0o777 for name in ("dir/new", "dir/sub", "plain")]
    assert modes == [0o664, 0o774, 0o600]
