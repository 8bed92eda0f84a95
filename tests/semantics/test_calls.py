"""Calls that not every union filesystem carries (rules 82, 90 to 92): the same answers, trees and errnos."""

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.semantics.sidebyside import (
    EXCHANGE,
    NOREPLACE,
    TIMES,
    opened,
    outcome,
    put,
    renameat2,
    run_beside,
    shell,
)
from tests.support import needs
from unionfs.linux import fsops

pytestmark = needs.root

BLOCK = 4096
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE, UNSHARE_RANGE = 1, 2, 8, 16, 32, 64
NOT_CARRIED = (COLLAPSE_RANGE, INSERT_RANGE)


def sparse(path: Path) -> None:
    """Data, a hole, data, a hole."""
    with open(path, "wb") as file:
        file.write(b"data")
        file.seek(1 << 20)
        file.write(b"more")
        file.truncate(2 << 20)


@pytest.mark.uses("LSEEK")
def test_holes_and_data_are_found(tmp_path):
    def act(root):
        def seek(fd):
            return [
                outcome(os.lseek, fd, offset, whence)
                for offset in (0, 3, BLOCK, 1 << 20, (1 << 20) + BLOCK, 2 << 20, 3 << 20)
                for whence in (os.SEEK_DATA, os.SEEK_HOLE)
            ]

        sparse(root / "made")
        return [opened(root / name, os.O_RDONLY, seek) for name in ("sparse", "file", "empty", "made")]

    def build(layers):
        sparse(layers[0] / "sparse")
        put(layers[1] / "file", "x" * 10_000)
        put(layers[1] / "empty")

    run_beside(tmp_path, build, act, ignore=TIMES)


MODES = (
    0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE, UNSHARE_RANGE, 1 << 30,
)  # fmt: skip
RANGES = ((BLOCK, BLOCK), (0, 0), (-1, BLOCK), (5, 7), (1 << 20, BLOCK))


@pytest.mark.uses("FALLOCATE")
def test_space_is_given_and_taken_as_the_upper_knows_it(tmp_path):
    def act(root):
        results = []
        for mode in MODES:
            put(root / f"upper{mode}", "upper " * 4000)
            for name in (f"lower{mode}", f"upper{mode}"):
                for offset, length in RANGES:
                    fd = os.open(root / name, os.O_RDWR)
                    results.append(outcome(fsops.fallocate, fd, mode, offset, length))
                    os.close(fd)
                status = (root / name).stat()
                results.append((name, status.st_size, status.st_blocks, (root / name).read_bytes()))
        reading = opened(root / "lower0", os.O_RDONLY, lambda fd: fsops.fallocate(fd, 0, 0, BLOCK))
        return [*results, reading]

    run_beside(
        tmp_path, lambda layers: [put(layers[0] / f"lower{mode}", "lower " * 4000) for mode in MODES], act, ignore=TIMES
    )


@pytest.mark.parametrize("mode", NOT_CARRIED)
def test_ranges_that_move_what_is_behind_them_are_not_carried_by_fuse(tmp_path, union_mount, mode):
    mounted = union_mount([tmp_path], tmp_path.with_name("upper"))
    put(mounted.path / "file", "x" * 3 * BLOCK)
    call = opened(mounted.path / "file", os.O_RDWR, lambda fd: fsops.fallocate(fd, mode, 0, BLOCK))
    assert call == errno.errorcode[errno.EOPNOTSUPP]


def test_92_ranges_are_copied(tmp_path):
    def act(root):
        put(root / "upper", "upper " * 4000)
        results = []
        for source, target, flags in (
            ("lower", "upper", os.O_RDWR), ("upper", "new", os.O_RDWR | os.O_CREAT), ("lower", "lower", os.O_RDWR),
            ("lower", "other", os.O_RDONLY), ("lower", "appended", os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        ):  # fmt: skip
            reader, writer = os.open(root / source, os.O_RDONLY), os.open(root / target, flags, 0o644)
            for offset, count, to in ((0, 10_000, 100), (100, 50, 90), (1 << 20, 10, 0), (0, 0, 0)):
                results.append(outcome(os.copy_file_range, reader, writer, count, offset, to))
            os.close(reader)
            os.close(writer)
        return results

    def build(layers):
        put(layers[0] / "lower", "lower " * 4000)
        put(layers[1] / "other", "other")

    run_beside(tmp_path, build, act, ignore=TIMES)


@pytest.mark.uses("TMPFILE")
def test_91_a_file_without_name_is_made_and_named(tmp_path):
    def act(root):
        before = os.umask(0o027)
        fd = os.open(root / "dir", os.O_TMPFILE | os.O_RDWR, 0o666)
        os.umask(before)
        os.write(fd, b"content")
        status = os.fstat(fd)
        seen = [oct(status.st_mode), status.st_nlink, status.st_size, sorted(os.listdir(root / "dir"))]
        here = os.open("/proc/self/fd", os.O_PATH)
        os.link(f"{fd}", root / "dir/named", src_dir_fd=here, follow_symlinks=True)
        os.close(here)
        seen += [os.fstat(fd).st_nlink, os.fstat(fd).st_ino == (root / "dir/named").stat().st_ino]
        os.close(fd)
        sealed = os.open(root / "dir", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
        seen.append(outcome(os.link, f"/proc/self/fd/{sealed}", root / "dir/never", follow_symlinks=True))
        os.close(sealed)
        return [*seen, outcome(os.open, root / "file", os.O_TMPFILE | os.O_RDWR)]

    run_beside(tmp_path, lambda layers: (put(layers[1] / "dir/old"), put(layers[1] / "file")), act, ignore=TIMES)


def test_renames_know_their_flags(tmp_path):
    def act(root):
        return [
            outcome(renameat2, root / old, root / new, flags)
            for old, new, flags in (
                ("a", "b", NOREPLACE), ("a", "new", NOREPLACE), ("new", "b", EXCHANGE), ("b", "dir", EXCHANGE),
                ("b", "nothing", EXCHANGE), ("b", "c", NOREPLACE | EXCHANGE), ("b", "c", 1 << 7),
                ("dir", "dir/in", EXCHANGE),
            )
        ]  # fmt: skip

    def build(layers):
        put(layers[0] / "a", "a")
        put(layers[1] / "b", "b")
        put(layers[1] / "dir/file")

    run_beside(tmp_path, build, act, ignore=TIMES)


def as_user(script: str, root: Path, uid: int = 1234, gid: int = 1235, groups: tuple[int, ...] = ()) -> str:
    result = subprocess.run(
        [os.path.realpath(sys.executable), "-c", f"import os, sys\nos.chdir(sys.argv[1])\n{script}", str(root)],
        user=uid, group=gid, extra_groups=groups, cwd="/", capture_output=True, text=True, timeout=30, check=False,
    )
    return (result.stderr.strip().splitlines() or [""])[-1]


MAKE = """
for umask in (0, 0o027, 0o077):
    os.umask(umask)
    for directory in ("plain", "setgid", "acl", "acl_setgid"):
        start = f"{directory}/{umask:o}"
        os.close(os.open(start + "file", os.O_CREAT | os.O_WRONLY, 0o6775))
        os.close(os.open(start + "read", os.O_CREAT | os.O_RDONLY, 0o2664))
        os.mkdir(start + "dir", 0o2777)
        os.mknod(start + "fifo", 0o010000 | 0o2666)
        os.symlink("x", start + "link")
"""


@pytest.mark.uses("DONT_MASK", "POSIX_ACL")
@pytest.mark.parametrize("groups", [(), (4321,), (4321, 4322)])
def test_82_what_is_made_gets_its_group_its_bits_and_its_acl(public_path, groups):
    """By one who is or isn't in the group of a set-group-id directory; where a default ACL stands in for the umask."""

    def build(layers):
        for name in ("plain", "setgid", "acl", "acl_setgid"):
            directory = layers[0] / name
            directory.mkdir()
            os.chown(directory, 0, 4321)
            directory.chmod(0o2777 if "setgid" in name else 0o777)
            if "acl" in name:
                subprocess.run(["setfacl", "-d", "-m", "u::rwx,u:1234:rwx,g::rx,o::r", directory], check=True)

    def act(root):
        return as_user(MAKE, root, groups=groups)

    run_beside(public_path, build, act, ignore=TIMES)


CHANGES = {
    "write": "os.pwrite(os.open(file, os.O_WRONLY), b'x', 0)",
    "truncate": "os.truncate(file, 1)",
    "open and truncate": "os.open(file, os.O_WRONLY | os.O_TRUNC)",
    "chown": "os.chown(file, -1, 4321)",
    "chmod": "os.chmod(file, 0o6777)",
    "allocate": "os.posix_fallocate(os.open(file, os.O_WRONLY), 0, 10000)",
    "copy": "fd = os.open(file, os.O_RDWR); os.copy_file_range(fd, fd, 2, 0, 4)",
    "map": "import mmap; mmap.mmap(os.open(file, os.O_RDWR), 4)[:1] = b'x'",
    "acl": "import subprocess; subprocess.run(['setfacl', '-m', 'u:77:r', file], check=True)",
}


@pytest.mark.uses("PASSTHROUGH", "SETXATTR_EXT", "POSIX_ACL")
@pytest.mark.parametrize("place", ["lower", "upper"])
@pytest.mark.parametrize(("uid", "groups"), [(1234, ()), (1234, (4321,)), (1236, ()), (0, ())])
def test_set_id_bits_and_capabilities_go_with_a_change(public_path, place, uid, groups):
    """By the owner, in the file's group or not, by a stranger, and by root."""

    def prepare(path):
        put(path, "content")
        os.chown(path, 1234, 4321)
        path.chmod(0o6777)
        os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))

    def prepare_all(root):
        for change in CHANGES:
            prepare(root / change)

    def act(root):
        if place == "upper":
            prepare_all(root)
        results = []
        for name, script in CHANGES.items():
            said = as_user(f"file = {name!r}\n{script}", root, uid=uid, groups=groups).partition(":")[0]
            results.append((name, said, oct((root / name).stat().st_mode), sorted(os.listxattr(root / name))))
        return results

    run_beside(public_path, lambda layers: place == "lower" and prepare_all(layers[0]), act, ignore=TIMES)


def test_syncing_a_filesystem_succeeds(tmp_path):
    def act(root):
        put(root / "made", "content")
        return opened(root, os.O_RDONLY, fsops.syncfs), shell("sync -f made", root), outcome(os.sync)

    run_beside(tmp_path, lambda layers: put(layers[0] / "file"), act, ignore=TIMES)


@pytest.mark.uses("STATX")
def test_what_is_made_has_its_own_time_of_birth_and_the_rest_that_of_the_layer(tmp_path):
    def act(root):
        (root / "made").touch()
        file, directory, made = (fsops.birth_ns(-100, os.fsencode(root / name)) for name in ("file", "dir", "made"))
        layers = [fsops.birth_ns(-100, os.fsencode(root.parent / name)) for name in ("lower0/file", "lower1/dir")]
        return [file, directory] == layers, made is not None and file is not None and made > file

    run_beside(tmp_path, lambda layers: (put(layers[0] / "file"), put(layers[1] / "dir/x")), act, ignore=TIMES)
