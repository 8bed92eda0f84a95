"""The rules of a union, each by its number, on kernel overlayfs and on ours side by side.

Trees compare times of objects that no call of the scenario touched; what calls touch has a time of its own on each
side, so scenarios that change things ignore mtime and look at it where the rule is about it.
"""

import ctypes
import fcntl
import mmap
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.semantics.sidebyside import (
    KERNEL_OPTIONS,
    OUR_OPTIONS,
    names,
    opaque,
    outcome,
    put,
    run_beside,
    shell,
    whiteout,
)
from tests.support import needs

pytestmark = [needs.root]

TIMES = frozenset({"mtime_ns"})
MIB_IN_BLOCKS = 2048
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
LIBC = ctypes.CDLL(None, use_errno=True)


def renameat2(old: Path, new: Path, flags: int) -> None:
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) == -1:
        raise OSError(ctypes.get_errno(), "renameat2")


def test_1_to_5_what_hides_and_what_merges(tmp_path):
    def build(layers):
        top, middle, bottom = layers
        put(top / "both", "top")
        put(bottom / "both", "bottom")
        put(top / "dir/a", "1")
        put(middle / "dir/b", "2")
        put(bottom / "dir/b", "3")
        put(bottom / "dir/c", "4")
        put(top / "file-over-dir", "file")
        put(bottom / "file-over-dir/child", "x")
        put(top / "dir-over-file/child", "x")
        put(middle / "dir-over-file", "file")
        put(bottom / "dir-over-file/deep", "x")
        put(top / "split/a", "x")
        put(middle / "split", "file between")
        put(bottom / "split/b", "x")
        for layer, mode in zip(layers, (0o700, 0o711, 0o755), strict=True):
            (layer / "dir").chmod(mode)
            os.setxattr(layer / "dir", "user.from", layer.name.encode())

    def act(root):
        return (
            (root / "both").read_text(),
            names(root / "dir"),
            (root / "dir/b").read_text(),
            oct((root / "dir").stat().st_mode),
            os.getxattr(root / "dir", "user.from"),
            outcome(os.listdir, root / "file-over-dir/child"),
            names(root / "dir-over-file"),
            names(root / "split"),
        )

    run_beside(tmp_path, build, act, lowers=3)


def test_6_7_9_12_13_14_whiteouts_and_opaque_directories(tmp_path):
    def build(layers):
        one, two, three, four = layers
        for layer in layers:
            put(layer / "dir/everywhere", layer.name)
            put(layer / f"dir/{layer.name}", "x")
        whiteout(two / "hidden")
        put(three / "hidden", "x")
        put(one / "above", "x")
        whiteout(two / "above")
        whiteout(two / "gone-in-middle")
        put(one / "gone-in-middle/new", "x")
        put(four / "gone-in-middle/old", "x")
        # removed in the third, made again in the second with the same subdirectory
        put(four / "again/sub/old", "x")
        whiteout(three / "again")
        put(two / "again/sub/new", "x")
        put(four / "opaque/sub/deep/old", "x")
        put(one / "opaque/sub/deep/new", "x")
        opaque(one / "opaque")
        put(four / "opaque2/old", "x")
        opaque(two / "opaque2")

    def act(root):
        return (
            [outcome(os.stat, root / name) for name in ("hidden", "nothing", "again/sub/old", "opaque/sub/deep/old")],
            names(root),
            names(root / "again/sub"),
            names(root / "opaque/sub/deep"),
            names(root / "dir"),
            names(root / "gone-in-middle"),
            outcome(os.open, root / "hidden", os.O_RDONLY),
            (root / "above").exists(),
        )

    run_beside(tmp_path, build, act, lowers=4)


def test_8_and_61_users_make_no_whiteouts(tmp_path):
    def act(root):
        put(root / "f")
        return (
            outcome(os.mknod, root / "w", stat.S_IFCHR, 0),
            outcome(renameat2, root / "f", root / "g", WHITEOUT),
            names(root),
        )

    run_beside(tmp_path, lambda layers: None, act, ignore=TIMES)


def test_11_wh_names_are_ordinary_in_the_overlay_dialect(tmp_path):
    def build(layers):
        put(layers[0] / ".wh.lower", "x")
        put(layers[1] / "lower", "x")

    def act(root):
        put(root / ".wh.x", "x")
        return names(root)

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_15_symlinks_resolve_in_the_merged_tree(tmp_path):
    def build(layers):
        put(layers[1] / "dir/file", "lower")
        put(layers[1] / "target/file", "target")
        (layers[0] / "link").symlink_to("target")
        (layers[0] / "abs").symlink_to("/etc/hostname")

    def act(root):
        os.rename(root / "dir", root / "moved")
        (root / "dir").symlink_to("target")
        return (root / "dir/file").read_text(), (root / "link/file").read_text(), os.readlink(root / "abs")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_16_long_names(tmp_path):
    def act(root):
        put(root / ("n" * 255), "x")
        return outcome(os.stat, root / ("n" * 256)), names(root), os.statvfs(root).f_namemax

    run_beside(tmp_path, lambda layers: put(layers[0] / ("l" * 255)), act, ignore=TIMES)


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


def test_44_to_50_deleting_and_making_again(tmp_path):
    def build(layers):
        put(layers[1] / "lower", "x")
        put(layers[0] / "dir/a", "x")
        put(layers[1] / "dir/b", "x")
        put(layers[1] / "dir/sub/c", "x")
        put(layers[1] / "becomes-dir", "x")
        put(layers[1] / "becomes-file/x", "x")

    def act(root):
        seen = [outcome(os.rmdir, root / "dir"), outcome(os.unlink, root / "dir"), outcome(os.rmdir, root / "lower")]
        os.unlink(root / "lower")
        seen.append(outcome(os.stat, root / "lower"))
        put(root / "upper-only", "x")
        os.unlink(root / "upper-only")
        put(root / "dir/b", "changed")
        shell("rm -rf dir && mkdir dir", root)
        seen += [outcome(os.stat, root / "dir/a"), outcome(os.stat, root / "dir/sub"), names(root / "dir")]
        put(root / "dir/b", "new")
        os.unlink(root / "becomes-dir")
        (root / "becomes-dir").mkdir()
        shell("rm -r becomes-file", root)
        put(root / "becomes-file", "file")
        put(root / "lower", "again")
        os.unlink(root / "lower")
        put(root / "lower", "and again")
        upper = root.parent / "upper"
        return seen, names(root), names(upper), os.getxattr(upper / "dir", "trusted.overlay.opaque")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_51_52_77_owner_group_umask_and_default_acl_of_new_objects(tmp_path):
    def build(layers):
        for name in ("plain", "setgid", "gone"):
            (layers[1] / name).mkdir()
            (layers[1] / name).chmod(0o777)
        os.chown(layers[1] / "setgid", 0, 500)
        (layers[1] / "setgid").chmod(0o2777)
        put(layers[1] / "setgid/file", "x").chmod(0o666)
        put(layers[1] / "setgid/dir/x", "x")

    def act(root):
        os.unlink(root / "setgid/file")
        shell("rm -r setgid/dir", root)
        command = "umask 027; touch plain/f setgid/file setgid/new; mkdir plain/d setgid/dir setgid/newdir"
        command += "; ln -s x plain/l"
        as_user = f"setpriv --reuid 1000 --regid 1000 --clear-groups sh -c '{command}'"
        status = shell(as_user, root)
        paths = ("plain/f", "plain/d", "plain/l", "setgid/file", "setgid/new", "setgid/dir", "setgid/newdir")
        return status, [(p, oct(s.st_mode), s.st_uid, s.st_gid) for p in paths for s in [(root / p).lstat()]]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_53_deleted_open_files_go_on(tmp_path):
    def build(layers):
        put(layers[1] / "lower", "lower data")

    def act(root):
        put(root / "upper", "upper data")
        seen: list[object] = []
        for name in ("upper", "lower"):
            fd = os.open(root / name, os.O_RDWR)
            os.unlink(root / name)
            os.pwrite(fd, b"NEW", 0)
            os.ftruncate(fd, 5)
            os.fchmod(fd, 0o640)
            with open(f"/proc/self/fd/{fd}", "rb") as again:
                seen.append(again.read())
            seen += [os.pread(fd, 20, 0), os.fstat(fd).st_nlink, os.fstat(fd).st_size, oct(os.fstat(fd).st_mode)]
            os.close(fd)
        fd = os.open(root / "read", os.O_RDONLY | os.O_CREAT)
        os.close(fd)
        return seen, names(root)

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_55_56_59_60_63_64_renaming_files(tmp_path):
    def build(layers):
        for name in ("a", "b", "c", "d", "e", "g"):
            put(layers[1] / name, name)
        put(layers[1] / "dir/x", "x")
        os.link(layers[1] / "g", layers[1] / "h")

    def act(root):
        os.rename(root / "a", root / "new")
        os.rename(root / "b", root / "c")
        put(root / "u", "u")
        os.rename(root / "u", root / "d")
        seen = [
            outcome(renameat2, root / "e", root / "d", NOREPLACE),
            outcome(renameat2, root / "e", root / "a", NOREPLACE),
            outcome(renameat2, root / "d", root / "a", EXCHANGE),
            outcome(renameat2, root / "d", root / "nothing", EXCHANGE),
            outcome(os.rename, root / "d", root / "dir"),
            outcome(os.rename, root / "dir", root / "d"),
            outcome(os.rename, root / "dir", root / "dir/sub"),
            outcome(os.rename, root / "g", root / "h"),
        ]
        upper = root.parent / "upper"
        kinds = {p.name: stat.S_IFMT(p.lstat().st_mode) for p in upper.iterdir()}
        return seen, names(root), kinds, [(root / n).read_text() for n in ("a", "c", "d", "new", "g", "h")]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_57_58_60_62_renaming_directories(tmp_path):
    def build(layers):
        put(layers[0] / "merged/a", "x")
        put(layers[1] / "merged/b", "x")
        put(layers[1] / "merged/sub/c", "x")
        put(layers[1] / "lower/x", "x")
        put(layers[1] / "empty-me/x", "x")
        put(layers[1] / "full/x", "x")
        put(layers[0] / "deep/one/two/three", "x")
        put(layers[1] / "deep/one/two/four", "x")
        (layers[1] / "place").mkdir()

    def act(root):
        os.rename(root / "merged", root / "place/renamed")
        os.rename(root / "place/renamed/sub", root / "sub-moved")
        os.rename(root / "lower", root / "lower2")
        os.rename(root / "lower2", root / "lower3")
        (root / "pure").mkdir()
        put(root / "pure/x", "pure")
        seen = [outcome(os.rename, root / "pure", root / "full")]
        os.unlink(root / "empty-me/x")
        seen.append(outcome(os.rename, root / "pure", root / "empty-me"))
        (root / "lower").mkdir()
        put(root / "lower/new", "x")
        renameat2(root / "deep/one", root / "lower3", EXCHANGE)
        put(root / "lower3/two/four", "changed")
        os.unlink(root / "lower3/two/three")
        os.rename(root / "place", root / "place2")
        return seen, names(root), names(root / "place2/renamed"), names(root / "sub-moved"), names(root / "empty-me")

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_66_67_71_hard_links_stay_links(tmp_path):
    def build(layers):
        put(layers[1] / "one", "data")
        for name in ("two", "dir/three"):
            (layers[1] / name).parent.mkdir(exist_ok=True)
            os.link(layers[1] / "one", layers[1] / name)
        put(layers[1] / "single", "x")

    def act(root):
        numbers = [os.stat(root / name).st_ino for name in ("one", "two", "dir/three")]
        with open(root / "two", "r+") as f:
            f.write("NEW")
        seen = [(root / name).read_text() for name in ("one", "two", "dir/three")]
        seen += [os.stat(root / name).st_nlink for name in ("one", "two", "dir/three")]
        seen.append([os.stat(root / name).st_ino for name in ("one", "two", "dir/three")] == numbers)
        os.link(root / "dir/three", root / "four")
        os.unlink(root / "one")
        seen += [os.stat(root / name).st_nlink for name in ("two", "dir/three", "four")]
        os.link(root / "single", root / "double")
        seen += [os.stat(root / "single").st_nlink, os.path.samefile(root / "single", root / "double")]
        return seen

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_28_71_links_are_counted_without_copying_what_was_deleted(tmp_path, union_mount):
    """▲ The kernel copies a lower hard link up to remember that one of its names was deleted."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    put(lower / "one", "data")
    for name in ("two", "three"):
        os.link(lower / "one", lower / name)
    mounted = union_mount([lower], upper)
    (mounted.path / "one").unlink()
    assert (mounted.path / "two").stat().st_nlink == 2
    mounted.remount()
    assert (mounted.path / "two").stat().st_nlink == 2
    (mounted.path / "two").unlink()
    mounted.remount()
    assert (mounted.path / "three").stat().st_nlink == 1
    assert all(stat.S_ISCHR(os.lstat(upper / name).st_mode) for name in ("one", "two"))
    assert names(tmp_path / "upper.work/index") == []
    (mounted.path / "three").chmod(0o600)
    mounted.remount()
    assert (mounted.path / "three").stat().st_nlink == 1


def test_57_a_redirect_out_of_an_opaque_directory(tmp_path):
    """A renamed lower directory in a new one, once more renamed above: each layer's redirect is followed."""

    def build(layers):
        put(layers[2] / "usr/x/file", "x")
        put(layers[1] / "opt/odd/moved/added", "x")
        opaque(layers[1] / "opt/odd")
        os.setxattr(layers[1] / "opt/odd/moved", "trusted.overlay.redirect", b"/usr/x")
        whiteout(layers[1] / "usr/x")
        put(layers[0] / "there/new", "x")
        os.setxattr(layers[0] / "there", "trusted.overlay.redirect", b"/opt/odd/moved")
        whiteout(layers[0] / "opt/odd/moved")

    def act(root):
        seen = names(root / "there"), names(root / "opt/odd"), names(root / "usr")
        os.rename(root / "there", root / "opt/back")
        return seen, names(root / "opt/back")

    run_beside(tmp_path, build, act, lowers=3, ignore=TIMES)


def test_72_numbers_are_unique(tmp_path, union_mount):
    for layer in ("one", "two", "three"):
        for number in range(50):
            put(tmp_path / layer / f"dir/{layer}{number}", "x")
    root = union_mount([tmp_path / "one", tmp_path / "two", tmp_path / "three"], tmp_path / "upper").path
    for number in range(0, 50, 3):
        (root / f"dir/two{number}").chmod(0o600)
        put(root / f"dir/new{number}", "x")
    numbers = [path.lstat().st_ino for path in root.rglob("*")]
    assert len(numbers) == len(set(numbers))


def test_74_75_76_marks_are_hidden_and_escaped(tmp_path):
    def build(layers):
        put(layers[1] / "f", "x")
        opaque(layers[0] / "dir")
        put(layers[1] / "dir/x", "x")

    def act(root):
        os.setxattr(root / "f", "trusted.overlay.x", b"1")
        os.setxattr(root / "f", "trusted.overlayx", b"2")
        big = outcome(os.setxattr, root / "f", "user.big", b"x" * 100_000)
        return (
            sorted(os.listxattr(root / "f")),
            os.getxattr(root / "f", "trusted.overlay.x"),
            os.listxattr(root / "dir"),
            outcome(os.getxattr, root / "dir", "trusted.overlay.opaque"),
            outcome(os.getxattr, root / "f", "user.none"),
            outcome(os.removexattr, root / "f", "user.none"),
            outcome(os.setxattr, root / "f", "user.none", b"", os.XATTR_REPLACE),
            outcome(os.setxattr, root / "f", "trusted.overlayx", b"", os.XATTR_CREATE),
            big,
        )

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_79_permissions_are_those_of_the_caller(tmp_path):
    def build(layers):
        put(layers[1] / "secret/f", "x")
        (layers[1] / "secret").chmod(0o700)
        put(layers[1] / "readable", "x", 0o644)
        put(layers[1] / "acl", "x", 0o600)
        shell("setfacl -m u:1000:r acl", layers[1])
        (layers[1] / "sticky").mkdir()
        put(layers[1] / "sticky/root", "x")
        (layers[1] / "sticky").chmod(0o1777)

    def act(root):
        tries = ("cat secret/f", "cat readable", "echo x >> readable", "cat acl", "echo x >> acl", "rm -f sticky/root",
                 "mv sticky/root sticky/x", "touch sticky/mine", "chmod 777 readable")
        user = "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c"
        return [(command, shell(f"{user} '{command}'", root) == 0) for command in tries]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_80_a_strangers_write_clears_set_id_bits(tmp_path):
    def build(layers):
        for name in ("write", "truncate", "root"):
            f = put(layers[1] / name, "data")
            shell(f"setcap cap_net_raw+ep {name}", layers[1])
            f.chmod(0o6777)

    def act(root):
        user = "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c"
        shell(f"{user} 'echo x >> write; truncate -s 1 truncate'", root)
        shell("echo x >> root", root)
        return [(oct((root / n).stat().st_mode), os.listxattr(root / n)) for n in ("write", "truncate", "root")]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_82_nothing_can_be_changed_without_an_upper(tmp_path, union_mount):
    put(tmp_path / "lower/f", "x")
    root = union_mount([tmp_path / "lower"]).path
    assert [
        outcome(os.open, root / "f", os.O_WRONLY),
        outcome(os.unlink, root / "f"),
        outcome(os.mkdir, root / "d"),
        outcome(os.chmod, root / "f", 0o600),
        outcome(os.utime, root / "f"),
        outcome(os.setxattr, root / "f", "user.x", b""),
        outcome(os.rename, root / "f", root / "g"),
        outcome(os.link, root / "f", root / "g"),
    ] == ["EROFS"] * 8
    assert (root / "f").read_text() == "x"


def test_84_syncing_works_on_either_layer(tmp_path):
    def act(root):
        for name, flags in (("f", os.O_RDONLY), ("f", os.O_RDWR), ("g", os.O_RDWR | os.O_CREAT)):
            fd = os.open(root / name, flags)
            os.fsync(fd)
            os.fdatasync(fd)
            os.close(fd)
        fd = os.open(root, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "x"), act, ignore=TIMES)


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


def test_85_a_volatile_upper_that_may_be_damaged_is_refused(tmp_path, union_mount, overlay_mount):
    put(tmp_path / "lower/f", "x")
    mounted = union_mount([tmp_path / "lower"], tmp_path / "upper", options="volatile")
    (mounted.path / "f").write_text("y")
    mark = tmp_path / "upper.work/work/incompat/volatile"
    assert mark.is_dir()
    mounted.remount()  # ▲ after a clean unmount, which syncs, it isn't
    assert (mounted.path / "f").read_text() == "y"
    mounted.unmount()
    assert not mark.parent.exists()
    mark.mkdir(parents=True)
    for mount in (union_mount, overlay_mount):
        with pytest.raises(AssertionError):
            mount([tmp_path / "lower"], tmp_path / "upper")
    assert mark.is_dir()


def test_89_locks_conflict_across_copy_up(tmp_path):
    def act(root):
        first = os.open(root / "f", os.O_RDONLY)
        fcntl.flock(first, fcntl.LOCK_EX)
        second = os.open(root / "f", os.O_RDWR)
        seen = outcome(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(first)
        again = outcome(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(second)
        return seen, again

    run_beside(tmp_path, lambda layers: put(layers[1] / "f", "x"), act, ignore=TIMES)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"sp ace", b"co:lon,comma\\", "ünï".encode(), b"-"])
def test_names_are_bytes(tmp_path, name):
    def build(layers):
        with open(os.path.join(os.fsencode(layers[1]), name), "w") as f:
            f.write("x")

    def act(root):
        path = os.path.join(os.fsencode(root), name)
        os.chmod(path, 0o600)
        os.rename(path, path + b"2")
        os.setxattr(path + b"2", b"user.\xfe", b"x")
        return os.listdir(os.fsencode(root)), [os.fsencode(key) for key in os.listxattr(path + b"2")]

    run_beside(tmp_path, build, act, ignore=TIMES)
