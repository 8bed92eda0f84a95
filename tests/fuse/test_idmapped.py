"""Mounts of the union on which the kernel maps ids, as container engines make them."""

import ctypes
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion, as_user, direct_only
from tests.support import needs
from unionfs.linux import mounts

pytestmark = [needs.root, direct_only]  # pyfuse3 can't allow it

FIRST = 100_000
"""What id 0 of the union is shown as on the mapped mount."""
LIBC = ctypes.CDLL(None, use_errno=True)
NR_MOUNT_SETATTR, AT_EMPTY_PATH, MOUNT_ATTR_IDMAP = 442, 0x1000, 0x100000


@contextmanager
def user_namespace() -> Iterator[int]:
    """A user namespace with ids from FIRST on."""
    holder = subprocess.Popen(["unshare", "--user", "sleep", "60"])
    try:
        own = os.readlink("/proc/self/ns/user")
        while os.readlink(f"/proc/{holder.pid}/ns/user") == own:
            assert holder.poll() is None
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{kind}").write_text(f"0 {FIRST} 65536")
        fd = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY)
        yield fd
        os.close(fd)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()


@contextmanager
def mapped(source: Path, target: Path) -> Iterator[Path]:
    """`source` mounted on `target` with its ids mapped."""
    target.mkdir()
    clone = mounts.open_tree(None, os.fsencode(source), follow=True)
    place = os.open(target, os.O_PATH)
    with user_namespace() as namespace:
        attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_IDMAP, 0, 0, namespace)
        result = LIBC.syscall(NR_MOUNT_SETATTR, clone, b"", AT_EMPTY_PATH, attributes, 32)
        assert result == 0, os.strerror(ctypes.get_errno())
    mounts.move_mount(clone, place)
    os.close(place)
    os.close(clone)
    try:
        yield target
    finally:
        subprocess.run(["umount", target], check=True)


def fill(lower: Path) -> None:
    (lower / "file").write_text("content")
    os.chown(lower / "file", 5, 6)
    (lower / "dir").mkdir()
    os.chown(lower / "dir", 5, 6)


@pytest.mark.uses("ALLOW_IDMAP", "HANDLE_KILLPRIV_V2")
def test_owners_are_shown_and_kept_through_the_map(make_union: MakeUnion, public_path: Path) -> None:
    """Rule 82."""
    union = make_union(fill)
    with mapped(union.top, public_path / "mapped") as top:
        assert ((top / "file").stat().st_uid, (top / "file").stat().st_gid) == (FIRST + 5, FIRST + 6)
        script = """
os.chdir(sys.argv[1])
open("dir/new", "w").close()
os.mkdir("dir/sub")
os.symlink("x", "dir/link")
os.close(os.open("dir", os.O_TMPFILE | os.O_RDWR))
open("file", "a").write(" more")
os.chmod("file", 0o600)
"""
        assert as_user(FIRST + 5, script, top, gid=FIRST + 6) == ""
        for name in ("dir/new", "dir/sub", "dir/link", "file"):
            kept, shown = (union.upper / name).lstat(), (top / name).lstat()
            assert (kept.st_uid, kept.st_gid) == (5, 6), name
            assert (shown.st_uid, shown.st_gid) == (FIRST + 5, FIRST + 6), name
        os.chown(top / "dir/new", FIRST + 7, FIRST + 8)
        assert ((union.upper / "dir/new").stat().st_uid, (union.upper / "dir/new").stat().st_gid) == (7, 8)
    assert (union.top / "file").read_text() == "content more"


@pytest.mark.uses("ALLOW_IDMAP", "HANDLE_KILLPRIV_V2")
def test_set_id_bits_go_with_a_strangers_write_there_too(make_union: MakeUnion, public_path: Path) -> None:
    union = make_union(fill)
    with mapped(union.top, public_path / "mapped") as top:
        for writer, expected in ((FIRST + 9, 0o777), (0, 0o6777)):
            (union.top / "file").chmod(0o6777)
            script = "os.pwrite(os.open(sys.argv[1], os.O_WRONLY), b'x', 0)"
            assert as_user(writer, script, top / "file") == ""
            assert stat.S_IMODE((union.top / "file").stat().st_mode) == expected


def test_hidden_xattrs_stay_hidden_from_users(make_union: MakeUnion) -> None:
    """Requests that make nothing don't say who asks, on any mount, where mounts may be mapped."""
    union = make_union(fill)
    os.setxattr(union.top / "file", "trusted.key", b"value")
    os.setxattr(union.top / "file", "user.key", b"value")
    (union.top / "file").chmod(0o644)
    assert sorted(os.listxattr(union.top / "file")) == ["trusted.key", "user.key"]
    assert as_user(1234, "assert os.listxattr(sys.argv[1]) == ['user.key']", union.top / "file") == ""
