"""What copies up, and what a copy keeps (rules 24 to 43, 94)."""

import mmap
import os
import shutil
import socket
import stat
import subprocess

from tests.semantics.sidebyside import (
    EXCHANGE,
    KERNEL_OPTIONS,
    MIB_IN_BLOCKS,
    OUR_OPTIONS,
    TIMES,
    names,
    opaque,
    outcome,
    put,
    renameat2,
    run_beside,
    shell,
)
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = [needs.root]


def test_24_25_27_28_what_copies_up(tmp_path):
    def build(layers):
        for name in ("read", "write", "rdwr", "truncate", "chmod", "chown", "utimens", "xattr", "link", "unlink"):
            put(layers[1] / name, "content of " + name)

    def act(root):
        (root / "read").read_text()
        os.stat(root / "read")
        os.close(os.open(root / "write", os.O_WRONLY))
        os.close(os.open(root / "rdwr", os.O_RDWR))
        os.truncate(root / "truncate", 3)
        os.chmod(root / "chmod", 0o600)
        os.chown(root / "chown", 12, 13)
        os.utime(root / "utimens", ns=(5, 6))
        os.setxattr(root / "xattr", "user.x", b"y")
        os.link(root / "link", root / "linked")
        os.unlink(root / "unlink")
        copied = [p.name for p in (root.parent / "upper").iterdir() if not stat.S_ISCHR(p.lstat().st_mode)]
        return sorted(copied), (root / "truncate").read_text()

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_26_truncating_open_copies_no_data(tmp_path):
    def act(root):
        fd = os.open(root / "f", os.O_RDWR | os.O_TRUNC)
        size = os.fstat(fd).st_size
        os.close(fd)
        return size, (root.parent / "upper/f").stat().st_size

    run_beside(tmp_path, lambda layers: put(layers[0] / "f", "x" * 100_000), act, ignore=TIMES)


def test_29_30_copy_up_keeps_everything(tmp_path):
    def build(layers):
        f = put(layers[1] / "private/dir/file", "x", 0o6755)
        os.chown(f, 1234, 2345)
        f.chmod(0o6755)
        os.setxattr(f, "user.a", b"\0\xff")
        os.setxattr(f, "trusted.b", b"t")
        shell(f"setfacl -m u:77:rw,g:88:r {f}; setcap cap_net_raw+ep {f}", layers[1])
        os.chown(layers[1] / "private", 1, 2)
        (layers[1] / "private").chmod(0o700)
        shell("setfacl -d -m u:77:rwx private/dir", layers[1])
        os.setxattr(layers[1] / "private/dir", "user.d", b"d")
        for path in (f, layers[1] / "private/dir", layers[1] / "private"):
            os.utime(path, ns=(1_500_000_000_000_000_001, 1_500_000_000_000_000_002))
        put(layers[1] / "holes", "")
        with open(layers[1] / "holes", "r+b") as holes:
            holes.truncate(10 << 20)
            os.pwrite(holes.fileno(), b"data", 5 << 20)
        os.utime(layers[1] / "holes", ns=(1, 2))

    def act(root):
        os.close(os.open(root / "private/dir/file", os.O_RDWR))
        os.close(os.open(root / "holes", os.O_RDWR))
        upper = root.parent / "upper"
        return (
            (upper / "holes").stat().st_blocks <= 2 * MIB_IN_BLOCKS,
            [(upper / p).stat().st_mtime_ns for p in ("private", "private/dir", "private/dir/file", "holes")],
            (root / "private/dir/file").stat().st_mtime_ns,
        )

    run_beside(tmp_path, build, act)


def test_36_special_files_stay_what_they_are(tmp_path):
    def build(layers):
        os.mkfifo(layers[1] / "fifo", 0o640)
        os.mknod(layers[1] / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(layers[1] / "block", stat.S_IFBLK | 0o600, os.makedev(7, 99))
        with socket.socket(socket.AF_UNIX) as s:
            cwd = os.getcwd()
            os.chdir(layers[1])
            s.bind("socket")
            os.chdir(cwd)
        (layers[1] / "link").symlink_to("x" * 500)

    def act(root):
        for name in ("fifo", "null", "block", "socket", "link"):
            os.chown(root / name, 5, 6, follow_symlinks=False)
        return [oct((root / name).lstat().st_mode) for name in ("fifo", "null", "block", "socket", "link")]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_38_40_68_old_descriptors_see_new_data_and_numbers_stay(tmp_path):
    def act(root):
        before = os.stat(root / "f").st_ino
        fd = os.open(root / "f", os.O_RDONLY)
        with open(root / "f", "r+") as f:
            f.write("NEW")
        seen = os.pread(fd, 10, 0)
        os.close(fd)
        moved = root / "g"
        os.rename(root / "f", moved)
        return seen, before == os.stat(moved).st_ino

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "old data"), act, ignore=TIMES)


def test_39_old_mappings_see_new_data(tmp_path, union_mount):
    """Better than kernel overlayfs, whose mapping of the lower file keeps the old data."""
    lower = tmp_path / "lower"
    put(lower / "f", "old data" * 1000)
    root = union_mount([lower], tmp_path / "upper").path
    with open(root / "f", "rb") as reader, mmap.mmap(reader.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
        assert mapping[:3] == b"old"
        with open(root / "f", "r+b") as writer:
            writer.write(b"NEW")
        assert mapping[:8] == b"NEW data"


def test_94_metadata_alone_is_copied_for_a_change_of_metadata(tmp_path):
    def build(layers):
        for name in ("mode", "renamed", "moved", "linked", "written", "cut", "swapped", "xattr"):
            put(layers[1] / "dir" / name, name * 5000)
        put(layers[1] / "dir/privileged", "p" * 5000, 0o755)
        shell("setcap cap_net_raw+ep dir/privileged", layers[1])
        os.link(layers[1] / "dir/mode", layers[1] / "hard")

    def act(root):
        d = root / "dir"
        (d / "mode").chmod(0o600)
        os.rename(d / "renamed", d / "renamed2")
        (root / "new").mkdir()
        os.rename(d / "moved", root / "new/moved2")
        os.link(d / "linked", root / "new/link")
        os.chown(d / "written", 7, 7)
        with open(d / "written", "r+") as f:
            f.write("NEW")
        (d / "cut").chmod(0o640)
        os.truncate(d / "cut", 3)
        put(root / "other", "other")
        renameat2(d / "swapped", root / "other", EXCHANGE)
        os.setxattr(d / "xattr", "user.x", b"x")
        (d / "privileged").chmod(0o700)
        os.rename(d, root / "dir2")
        with open(root / "dir2/privileged", "rb+") as f:
            blocks = (root.parent / "upper/dir2/privileged").stat().st_blocks
        upper = root.parent / "upper"
        empty = [(upper / name).stat().st_blocks < 16 for name in ("dir2/mode", "new/moved2", "new/link", "dir2/xattr")]
        filled = [(upper / name).stat().st_size for name in ("dir2/written", "dir2/cut")]
        return empty, filled, blocks > 0, (root / "dir2/mode").stat().st_blocks

    run_beside(
        tmp_path, build, act, ignore=TIMES, kernel=f"{KERNEL_OPTIONS},metacopy=on", ours=f"{OUR_OPTIONS},metacopy=on"
    )


def test_94_what_the_kernel_wrote_so_is_read_without_asking(tmp_path, overlay_mount, union_mount):
    """▲ The kernel refuses such files unless told to expect them."""
    put(tmp_path / "lower/file", "data" * 5000)
    with overlay_mount([tmp_path / "lower"], tmp_path / "upper", options="metacopy=on,redirect_dir=on") as kernel:
        os.rename(kernel.path / "file", kernel.path / "renamed")
    assert (tmp_path / "upper/renamed").read_text() != "data" * 5000
    assert (union_mount([tmp_path / "lower"], tmp_path / "upper").path / "renamed").read_text() == "data" * 5000


def test_31_marks_are_not_copied_up(tmp_path):
    def build(layers):
        put(layers[1] / "dir/below", "x")
        put(layers[0] / "dir/file", "x")
        opaque(layers[0] / "dir")

    def act(root):
        (root / "dir/file").chmod(0o600)
        upper = root.parent / "upper/dir"
        return [key for key in os.listxattr(upper) if "opaque" in key or "redirect" in key], names(root / "dir")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_32_files_beyond_4_gib(tmp_path, union_mount):
    """With holes, which a copy keeps."""
    with open(put(tmp_path / "lower/big"), "r+b") as file:
        for offset in (0, 4 << 30, (5 << 30) - 4):
            os.pwrite(file.fileno(), b"data", offset)
    mounted = union_mount([tmp_path / "lower"], tmp_path / "upper")
    with open(mounted.path / "big", "r+b") as file:
        os.pwrite(file.fileno(), b"new!", (4 << 30) + 2)
        seen = [os.pread(file.fileno(), 8, offset) for offset in (0, 1 << 30, 4 << 30, (5 << 30) - 4)]
    assert seen == [b"data" + bytes(4), bytes(8), b"danew!" + bytes(2), b"data"]
    assert (mounted.path / "big").stat().st_size == 5 << 30
    assert (tmp_path / "upper/big").stat().st_blocks < 4 * MIB_IN_BLOCKS


def test_37_what_an_old_descriptor_may_do_stays(tmp_path):
    def act(root):
        old = os.open(root / "f", os.O_RDONLY)
        with open(root / "f", "r+") as file:
            file.write("NEW")
        try:
            return outcome(os.write, old, b"x"), outcome(os.ftruncate, old, 0), os.read(old, 10)
        finally:
            os.close(old)

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "old data"), act, ignore=TIMES)


def test_41_a_program_that_runs_cannot_be_written(tmp_path):
    def act(root):
        with subprocess.Popen([root / "program", "60"]) as process:
            try:
                wait_for("the program", lambda: os.readlink(f"/proc/{process.pid}/exe").endswith("program"))
                return outcome(os.open, root / "program", os.O_RDWR), process.poll()
            finally:
                process.kill()

    run_beside(tmp_path, lambda layers: shutil.copy2("/bin/sleep", layers[1] / "program"), act, ignore=TIMES)


def test_42_reading_leaves_the_time_of_a_lower_file(tmp_path):
    def act(root):
        before = (root / "f").stat().st_atime_ns
        (root / "f").read_text()
        return before == (root / "f").stat().st_atime_ns

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "x"), act)


def test_30_51_nothing_is_inherited_from_the_work_directory(tmp_path):
    """Whoever an ACL of it names would have had rights on every copy."""

    def build(layers):
        put(layers[1] / "file", "lower")
        put(layers[1] / "dir/below", "lower")
        (layers[1] / "gone").mkdir()
        work = layers[0].parent / "work"
        work.mkdir()
        shell("chgrp 4321 work; chmod 2777 work; setfacl -d -m u:1234:rwx work", work.parent)

    def act(root):
        (root / "file").write_text("copied")
        (root / "dir/below").chmod(0o640)
        (root / "gone").rmdir()
        (root / "gone").mkdir()  # over a whiteout
        (root / "dir/below").unlink()
        (root / "dir/below").touch()
        return [(name, (root / name).stat().st_gid, oct((root / name).stat().st_mode), os.listxattr(root / name))
                for name in ("file", "dir", "gone", "dir/below")]  # fmt: skip

    run_beside(tmp_path, build, act, ignore=TIMES)
