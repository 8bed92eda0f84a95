"""Deleting, and making again (rules 44 to 54)."""

import os

from tests.semantics.sidebyside import (
    TIMES,
    names,
    outcome,
    put,
    run_beside,
    shell,
)
from tests.support import needs

pytestmark = [needs.root]


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


def test_54_nothing_of_workdir_is_ever_visible(tmp_path):
    """Nor can anything be reached there: names in it are looked up as any others."""

    def build(layers):
        put(layers[1] / "dir/file", "x" * 100_000)
        os.link(layers[1] / "dir/file", layers[1] / "link")

    def act(root):
        (root / "link").chmod(0o600)
        (root / "dir/file").unlink()
        (root / "dir").rmdir()
        seen = names(root)
        return seen, [outcome(os.stat, root / name) for name in ("work", "index", "../work/index/x", "#1", "work/#1")]

    run_beside(tmp_path, build, act, ignore=TIMES)
