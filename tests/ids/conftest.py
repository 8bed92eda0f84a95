"""What the tests on owners use: a folder for all users, calls made as one of them, fuse-overlayfs beside us."""

import ctypes
import os
import pickle
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import needs
from tests.support.mounts import is_mount_point
from unionfs.linux import mounts, process
from unionfs.linux.libc import check, libc

CLONE_NEWUSER = 0x10000000
MOUNT_ATTR_IDMAP = 0x100000
NR_MOUNT_SETATTR = 442


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter, with `lower`, `upper` for all to write, and `merged` in it."""
    needs.superuser()
    path = Path(tempfile.mkdtemp(prefix="pyunion-ids-", dir="/var/tmp"))
    path.chmod(0o755)
    for name in ("lower", "upper", "peer-upper", "merged"):
        (path / name).mkdir()
        (path / name).chmod(0o777)
    yield path
    left = [child for child in path.iterdir() if is_mount_point(child)]
    for child in left:
        subprocess.run(["umount", "-l", child], check=False)
    shutil.rmtree(path)
    assert not left, "left mounted"


def acting_as(uid: int, call: Callable[[], Any], *, gid: int | None = None, umask: int = 0o022) -> Any:
    """What `call` returns as that user, in a process of its own; the errno of an OSError."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.umask(umask)
            os.setgroups([])
            os.setresgid(*(uid if gid is None else gid,) * 3)
            os.setresuid(*(uid,) * 3)
            try:
                answer = call()
            except OSError as error:
                answer = error.errno
            os.write(writer, pickle.dumps(answer))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answered:
        said = answered.read()
    assert os.waitpid(pid, 0)[1] == 0
    return pickle.loads(said)


def refused(call: Callable[..., object], *arguments: object) -> int:
    """The errno with which `call` fails; 0 if it doesn't."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno or -1
    return 0


def owner(path: Path) -> tuple[int, int]:
    st = path.lstat()
    return st.st_uid, st.st_gid


def owner_and_mode(path: Path) -> tuple[int, int, str]:
    st = path.lstat()
    return st.st_uid, st.st_gid, oct(st.st_mode)


@contextmanager
def fuse_overlayfs(lower: Path, upper: Path, at: Path, options: str) -> Iterator[Path]:
    """Mount the peer there."""
    needs.commands("fuse-overlayfs")
    work = upper.with_name(f"{upper.name}.peer-work")
    for directory in (upper, work, at):
        directory.mkdir(exist_ok=True)
    command = ["fuse-overlayfs", "-o", f"lowerdir={lower},upperdir={upper},workdir={work},{options}", str(at)]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def id_map(mount_point: Path, stored: int, shown: int, count: int) -> None:
    """Mount the directory on itself with its ids mapped. Raises OSError: EINVAL (the filesystem can't)."""
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        process.unshare(CLONE_NEWUSER)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    tree = namespace = -1
    try:
        os.read(ready[0], 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(f"{stored} {shown} {count}\n")
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        tree = mounts.open_tree(None, os.fsencode(mount_point))
        attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_IDMAP, 0, 0, namespace)
        check(libc.syscall(NR_MOUNT_SETATTR, tree, b"", 0x1000, ctypes.byref(attributes), ctypes.sizeof(attributes)))
        target = os.open(mount_point, os.O_PATH)
        mounts.move_mount(tree, target)
        os.close(target)
    finally:
        os.write(done[1], b"x")
        os.waitpid(pid, 0)
        for fd in (*ready, *done, tree, namespace):
            if fd >= 0:
                os.close(fd)
