"""Locks between processes on one mount: flock, fcntl and open file description locks; also over copy-up."""

import fcntl
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.concurrency import workers
from tests.concurrency.workers import Barrier
from tests.support import needs
from tests.support.mounts import MountFactory

pytestmark = [needs.root]

PROCESSES = 8
ROUNDS = 40
F_OFD_SETLK, F_OFD_SETLKW = 37, 38


def _whole(kind: int) -> bytes:
    """struct flock for the whole file."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


def flock(fd: int, kind: int, *, wait: bool) -> None:
    command = {fcntl.F_WRLCK: fcntl.LOCK_EX, fcntl.F_RDLCK: fcntl.LOCK_SH, fcntl.F_UNLCK: fcntl.LOCK_UN}[kind]
    fcntl.flock(fd, command | (0 if wait else fcntl.LOCK_NB))


def posix(fd: int, kind: int, *, wait: bool) -> None:
    fcntl.fcntl(fd, fcntl.F_SETLKW if wait else fcntl.F_SETLK, _whole(kind))


def of_description(fd: int, kind: int, *, wait: bool) -> None:
    fcntl.fcntl(fd, F_OFD_SETLKW if wait else F_OFD_SETLK, _whole(kind))


Lock = Callable[..., None]
LOCKS = {"flock": flock, "fcntl": posix, "OFD": of_description}


@pytest.fixture
def mount_point(tmp_path: Path, union_mount: MountFactory) -> Path:
    lower = tmp_path / "lower"
    lower.mkdir()
    (lower / "counter").write_bytes(b"0")
    return union_mount([lower], tmp_path / "upper").path


def in_child(work: Callable[[], None]) -> None:
    workers.run([work])


@pytest.mark.parametrize("name", LOCKS)
def test_a_counter_under_a_lock_misses_no_step(mount_point, name):
    """The first to write it copies it up, while others hold or wait for the lock on the lower file."""
    lock = LOCKS[name]

    def count(process: int) -> None:
        for _ in range(ROUNDS):
            fd = os.open(mount_point / "counter", os.O_RDWR)
            lock(fd, fcntl.F_WRLCK, wait=True)
            value = int(os.pread(fd, 20, 0)) + 1
            os.pwrite(fd, b"%d" % value, 0)
            lock(fd, fcntl.F_UNLCK, wait=True)
            os.close(fd)

    workers.run([partial(count, process) for process in range(PROCESSES)])
    assert int((mount_point / "counter").read_bytes()) == PROCESSES * ROUNDS


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_from_before_copy_up_holds_after_it(mount_point, name):
    lock = LOCKS[name]
    holder = os.open(mount_point / "counter", os.O_RDONLY)
    lock(holder, fcntl.F_RDLCK, wait=False)

    def other() -> None:
        fd = os.open(mount_point / "counter", os.O_RDWR)  # copies it up
        with pytest.raises(OSError):
            lock(fd, fcntl.F_WRLCK, wait=False)
        lock(fd, fcntl.F_RDLCK, wait=False)

    in_child(other)
    lock(holder, fcntl.F_UNLCK, wait=False)

    def now_free() -> None:
        lock(os.open(mount_point / "counter", os.O_RDWR), fcntl.F_WRLCK, wait=False)

    in_child(now_free)
    os.close(holder)


@pytest.mark.parametrize("name", LOCKS)
def test_locks_follow_the_file_and_not_its_name(mount_point, name):
    lock = LOCKS[name]
    holder = os.open(mount_point / "counter", os.O_RDWR)
    lock(holder, fcntl.F_WRLCK, wait=False)
    os.rename(mount_point / "counter", mount_point / "renamed")
    os.link(mount_point / "renamed", mount_point / "linked")
    (mount_point / "counter").write_bytes(b"another file")

    def other() -> None:
        for path in ("renamed", "linked"):
            with pytest.raises(OSError):
                lock(os.open(mount_point / path, os.O_RDWR), fcntl.F_WRLCK, wait=False)
        lock(os.open(mount_point / "counter", os.O_RDWR), fcntl.F_WRLCK, wait=False)

    in_child(other)
    os.close(holder)


def test_an_fcntl_lock_covers_its_range_alone(mount_point):
    holder = os.open(mount_point / "counter", os.O_RDWR)
    fcntl.lockf(holder, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 100)

    def other() -> None:
        fd = os.open(mount_point / "counter", os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 100, 0)
        with pytest.raises(OSError):
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 105)
        kind, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, _whole(fcntl.F_WRLCK)))
        assert (kind, start, length, pid) == (fcntl.F_WRLCK, 100, 10, os.getppid())

    in_child(other)
    os.close(holder)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_goes_with_the_process_that_dies(mount_point, name):
    lock = LOCKS[name]
    barrier = Barrier(2)

    def dies() -> None:
        lock(os.open(mount_point / "counter", os.O_RDWR), fcntl.F_WRLCK, wait=False)
        barrier.wait(0)

    def waits() -> None:
        barrier.wait(1)
        lock(os.open(mount_point / "counter", os.O_RDWR), fcntl.F_WRLCK, wait=True)

    workers.run([dies, waits])
    barrier.close()
