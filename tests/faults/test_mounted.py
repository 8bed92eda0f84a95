"""Faults under a real mount: the driver is killed in mid copy-up, the upper is full, read-only, or fails."""

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support import mounts, needs, syscalls
from tests.support.mounts import Mounted
from tests.support.syscalls import Call
from tests.support.tree import assert_same_tree, snapshot, with_plain_links

pytestmark = [needs.root]

KERNEL_OPTIONS = "index=on,redirect_dir=on,xino=on"
MIB = 1 << 20
EXTENTS = 6


class Watch:
    """Answers the calls of a driver, in a thread; `judge` says 0 to let a call be made, or its errno."""

    def __init__(self, path: Path) -> None:
        self.judge: Callable[[Call], int] = lambda call: 0
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.bind(str(path))
        self._server.listen()
        self._end = os.eventfd(0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        if not self._wait_for(self._server.fileno()):
            return
        connection = self._server.accept()[0]
        with connection:
            _, (listener,), _, _ = socket.recv_fds(connection, 16, 1)
        while self._wait_for(listener):
            call = syscalls.receive(listener)
            if call is None:
                continue
            code = self.judge(call)
            if code:
                syscalls.fail(listener, call, code)
            else:
                syscalls.let(listener, call)
        os.close(listener)

    def _wait_for(self, fd: int) -> bool:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        ready = dict(poll.poll())
        return self._end not in ready and bool(ready.get(fd, 0) & select.POLLIN)

    def close(self) -> None:
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._server.close()
        os.close(self._end)


@pytest.fixture
def watched_mount(tmp_path, monkeypatch, union_mount) -> Iterator[Callable[..., tuple[Mounted, Watch]]]:
    """Mount with a driver whose calls are ours to judge."""
    syscalls.needed()
    watches: list[Watch] = []

    def mount(*arguments: object, **options: str) -> tuple[Mounted, Watch]:
        place = tmp_path / f"watch{len(watches)}"
        watches.append(Watch(place))
        with monkeypatch.context() as patch:
            patch.setattr(mounts, "PYUNIONFS", (sys.executable, "-m", "tests.faults.watched_driver", str(place)))
            return union_mount(*arguments, **options), watches[-1]

    yield mount
    for watch in watches:
        watch.judge = lambda call: 0
    union_mount.close()
    for watch in watches:
        watch.close()


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    lower = tmp_path / "lower"
    (lower / "dir").mkdir(parents=True)
    (lower / "small").write_text("small")
    (lower / "dir/file").write_text("file")
    (lower / "other").write_text("other")
    with open(lower / "large", "wb") as file:
        for extent in range(EXTENTS):
            file.seek(extent * 2 * MIB)
            file.write(b"%d" % extent * MIB)
    return lower


def kill_driver(mounted: Mounted) -> None:
    """Kill -9, and take the dead mount away."""
    assert mounted.driver is not None
    mounted.driver.send_signal(signal.SIGKILL)
    mounted.driver.wait()
    subprocess.run(["umount", "-l", mounted.path], check=True)
    mounted.is_mounted = False


@pytest.mark.parametrize(("nth", "binding"), [(0, "direct"), (1, "pyfuse3"), (EXTENTS - 1, "direct")])
def test_a_driver_killed_in_mid_copy_up_leaves_the_lower_file(
    tmp_path, lower, watched_mount, union_mount, overlay_mount, binding, nth
):
    """Before each extent of the data."""
    mounted, watch = watched_mount([lower], tmp_path / "upper", options=f"binding={binding}")
    before = with_plain_links(snapshot(mounted.path))
    copied = 0

    def judge(call: Call) -> int:
        nonlocal copied
        if call.name == "copy_file_range":
            copied += 1
            if copied == nth + 1:
                os.kill(mounted.driver.pid, signal.SIGKILL)
        return 0

    watch.judge = judge
    with pytest.raises(OSError) as raised:
        os.open(mounted.path / "large", os.O_RDWR)
    assert raised.value.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
    kill_driver(mounted)
    work = tmp_path / "upper.work/work"
    assert os.listdir(work) == []  # the copy gets its name when it is whole
    again = union_mount([lower], tmp_path / "upper", at=mounted.path)
    assert os.listdir(work) == []
    assert os.listdir(tmp_path / "upper") == []
    assert_same_tree(before, with_plain_links(snapshot(again.path)))
    with open(again.path / "large", "r+b") as file:
        file.write(b"written")
    assert (again.path / "large").read_bytes()[:8] == b"written0"
    seen = with_plain_links(snapshot(again.path))
    again.unmount()
    empty = tmp_path / "empty"
    empty.mkdir()
    oracle = overlay_mount([empty, lower], tmp_path / "upper", workdir=tmp_path / "upper.work", options=KERNEL_OPTIONS)
    assert_same_tree(seen, with_plain_links(snapshot(oracle.path)))


@pytest.mark.parametrize(
    ("name", "code", "binding"),
    [
        ("copy_file_range", errno.ENOSPC, "direct"),
        ("copy_file_range", errno.EDQUOT, "pyfuse3"),
        ("fsync", errno.EIO, "direct"),
        ("fsync", errno.EIO, "pyfuse3"),
        ("renameat", errno.ENOSPC, "direct"),
        ("openat", errno.EROFS, "direct"),
        ("chown", errno.EIO, "direct"),
    ],
)
def test_the_errno_of_a_failed_copy_up_reaches_the_caller(tmp_path, lower, watched_mount, binding, code, name):
    os.chown(lower / "large", 1000, 1000)
    mounted, watch = watched_mount([lower], tmp_path / "upper", options=f"binding={binding}")
    names = {name, {"chown": "fchownat", "renameat": "rename"}.get(name, name), {"chown": "lchown"}.get(name, name)}
    failed: list[str] = []

    def judge(call: Call) -> int:
        if failed or not call.changes or call.name not in names:
            return 0
        failed.append(call.name)
        return int(code)

    before = (mounted.path / "large").stat()
    watch.judge = judge
    with pytest.raises(OSError) as raised:
        os.open(mounted.path / "large", os.O_RDWR)
    assert failed
    assert raised.value.errno == code
    assert (mounted.path / "large").stat() == before
    assert os.listdir(tmp_path / "upper") == []
    assert os.listdir(tmp_path / "upper.work/work") == []
    with open(mounted.path / "large", "r+b") as file:  # the next time it works
        file.write(b"written")
    assert (tmp_path / "upper/large").read_bytes()[:8] == b"written0"


def test_syncing_a_file_of_which_metadata_alone_was_copied_up_syncs_that(tmp_path, lower, watched_mount):
    mounted, watch = watched_mount([lower], tmp_path / "upper", options="metacopy=on")
    os.chmod(mounted.path / "small", 0o600)
    with open(mounted.path / "small") as file:
        watch.judge = lambda call: errno.EIO if call.name == "fsync" else 0
        with pytest.raises(OSError) as raised:
            os.fsync(file.fileno())
    assert raised.value.errno == errno.EIO


def _filled(directory: Path) -> Path:
    """A file that takes all the space there is, and all the inodes."""
    filler = directory / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with pytest.raises(OSError, match="No space"):
                while True:
                    file.write(b"x" * size)
    return filler


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A filesystem of 8 MB on a loop device."""
    needs.commands("mkfs.ext4", "losetup")
    image, disk = tmp_path / "image", tmp_path / "disk"
    with open(image, "wb") as file:
        file.truncate(8 * MIB)
    # blocks kept for root would let us go on where others can't; names fill a block soon
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-b", "1024", "-O", "^has_journal", image], check=True)
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


VERBS: dict[str, Callable[[Path], object]] = {
    "open a large file to write": lambda root: os.close(os.open(root / "large", os.O_RDWR)),
    "chmod": lambda root: os.chmod(root / "small", 0o600),
    "create": lambda root: (root / "new").touch(exist_ok=False),
    "create deep below": lambda root: (root / "dir/new").touch(exist_ok=False),
    "mkdir": lambda root: (root / "new-dir").mkdir(),
    "unlink": lambda root: (root / "other").unlink(),
    "rename": lambda root: (root / "small").rename(root / "renamed"),
    "rename a directory": lambda root: (root / "dir").rename(root / "renamed-dir"),
    "symlink": lambda root: (root / "link").symlink_to("x" * 200),
    "setxattr": lambda root: os.setxattr(root / "dir", "user.key", b"x" * 500),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_upper_changes_nothing_and_works_again_when_there_is_space(
    tmp_path, lower, union_mount, overlay_mount, small_disk, verb
):
    """Rule 34."""
    mounted = union_mount([lower], small_disk / "upper", workdir=small_disk / "work")
    before = with_plain_links(snapshot(mounted.path))
    filler = _filled(small_disk)
    failed = 0
    try:
        VERBS[verb](mounted.path)
    except OSError as error:
        failed = error.errno or -1
    if failed or verb == "open a large file to write":
        assert failed == errno.ENOSPC
        assert_same_tree(before, with_plain_links(snapshot(mounted.path)), ignore={"mtime_ns"})
        assert os.listdir(small_disk / "work/work") == []
    filler.unlink()
    if failed:
        VERBS[verb](mounted.path)
    after = with_plain_links(snapshot(mounted.path))
    assert after != before or verb.startswith("open")
    mounted.unmount()
    empty = tmp_path / "empty"
    empty.mkdir()
    oracle = overlay_mount([empty, lower], mounted.upper, workdir=mounted.workdir, options=KERNEL_OPTIONS)
    assert_same_tree(after, with_plain_links(snapshot(oracle.path)))


def test_writing_to_a_full_upper_tells_and_keeps_what_was_written(lower, union_mount, small_disk):
    mounted = union_mount([lower], small_disk / "upper", workdir=small_disk / "work")
    with open(mounted.path / "small", "r+b", buffering=0) as file:
        file.write(b"kept!")
        filler = _filled(small_disk)
        with pytest.raises(OSError) as raised:
            while file.write(b"x" * MIB):
                os.fsync(file.fileno())
        assert raised.value.errno == errno.ENOSPC
        filler.unlink()
        file.write(b"after")
    content = (mounted.path / "small").read_bytes()
    assert content.startswith(b"kept!")
    assert content.endswith(b"after")


@pytest.mark.parametrize("verb", VERBS)
def test_an_upper_that_becomes_read_only_tells_and_works_again_when_it_is_writable(
    tmp_path, lower, union_mount, small_disk, verb
):
    (lower / "large").write_bytes(b"x" * MIB)  # it is to fit
    mounted = union_mount([lower], small_disk / "upper", workdir=small_disk / "work")
    (mounted.path / "written").write_text("before")
    before = with_plain_links(snapshot(mounted.path))
    remount = partial(subprocess.run, check=True, timeout=20)
    remount(["mount", "-o", "remount,ro", small_disk])
    with pytest.raises(OSError) as raised:
        VERBS[verb](mounted.path)
    assert raised.value.errno == errno.EROFS
    assert_same_tree(before, with_plain_links(snapshot(mounted.path)))
    remount(["mount", "-o", "remount,rw", small_disk])
    assert_same_tree(before, with_plain_links(snapshot(mounted.path)))
    VERBS[verb](mounted.path)
    after = with_plain_links(snapshot(mounted.path))
    mounted.remount()
    assert_same_tree(after, with_plain_links(snapshot(mounted.path)))
