"""While one request waits for something slow, the others are served."""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuse.conftest import Gate, Union
from tests.fuse.gate import PATTERN
from tests.support import needs
from tests.support.mounts import MountFactory
from tests.support.waiting import wait_for
from unionfs.fuse.direct import statistics

pytestmark = needs.root

PROMPT_S = 5
LARGEST_READ = 128 << 10


@pytest.fixture
def gated(gate: Gate, public_path: Path, union_mount: MountFactory) -> Union:
    """A union whose lowest layer has a file that can't be read yet."""
    lower, upper = public_path / "lower", public_path / "upper"
    (lower / "dir").mkdir(parents=True)
    (lower / "other").write_text("other")
    mounted = union_mount([lower, gate.path], upper, at=public_path / "merged", options="debug")
    return Union(mounted, lower, upper)


def work_on_others(top: Path) -> None:
    """All kinds of requests on files that aren't waited for."""
    assert (top / "other").read_text() == "other"
    (top / "other").write_text("changed")
    assert sorted(os.listdir(top)) == ["big", "dir", "other"]
    assert not (top / "absent").exists()
    (top / "new").write_text("new")
    os.rename(top / "new", top / "dir/new")
    fd = os.open(top / "dir/new", os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    (top / "dir/new").unlink()


def write_start(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"start")


def test_a_copy_up_stops_nobody_else(gated: Union, gate: Gate) -> None:
    with ThreadPoolExecutor() as pool:
        writer = pool.submit(write_start, gated.top / "big")
        gate.wait_for_reader()
        pool.submit(work_on_others, gated.top).result(PROMPT_S)
        status = pool.submit(os.stat, gated.top / "big").result(PROMPT_S)
        assert status.st_size == gate.size_bytes
        assert not writer.done()
        gate.open()
        writer.result(PROMPT_S)
    content = (gated.upper / "big").read_bytes()
    assert content == b"start" + (PATTERN * (gate.size_bytes // len(PATTERN)))[5:]
    assert list((gated.upper.with_name("upper.work") / "work").iterdir()) == []


def test_two_writers_make_one_copy(gated: Union, gate: Gate) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(write_start, gated.top / "big")
        gate.wait_for_reader()
        second = pool.submit(os.truncate, gated.top / "big", gate.size_bytes - 1)
        gate.open()
        first.result(PROMPT_S)
        second.result(PROMPT_S)
    assert gate.reads() < 1.5 * gate.size_bytes / LARGEST_READ
    assert (gated.upper / "big").stat().st_size == gate.size_bytes - 1


def test_a_cold_read_stops_nobody_else(gated: Union, gate: Gate) -> None:
    with ThreadPoolExecutor() as pool:
        reader = pool.submit((gated.top / "big").read_bytes)
        gate.wait_for_reader()
        pool.submit(work_on_others, gated.top).result(PROMPT_S)
        assert not reader.done()
        gate.open()
        assert reader.result(PROMPT_S) == PATTERN * (gate.size_bytes // len(PATTERN))


def test_a_large_file_that_waits_keeps_no_other_large_one_waiting(
    gate: Gate, public_path: Path, union_mount: MountFactory
) -> None:
    lower = public_path / "lower"
    lower.mkdir()
    (lower / "large").write_bytes(PATTERN * 1024)
    top = union_mount([lower, gate.path], public_path / "upper", at=public_path / "merged").path
    with ThreadPoolExecutor() as pool:
        reader = pool.submit((top / "big").read_bytes)
        gate.wait_for_reader()
        assert pool.submit((top / "large").read_bytes).result(PROMPT_S) == PATTERN * 1024
        assert not reader.done()
        gate.open()
        assert reader.result(PROMPT_S) == PATTERN * (gate.size_bytes // len(PATTERN))


def test_a_name_removed_while_it_is_copied_stays_removed(gated: Union, gate: Gate) -> None:
    with ThreadPoolExecutor() as pool:
        writer = pool.submit(write_start, gated.top / "big")
        gate.wait_for_reader()
        pool.submit(os.unlink, gated.top / "big").result(PROMPT_S)
        gate.open()
        writer.result(PROMPT_S)
    assert not (gated.top / "big").exists()
    assert "big" not in os.listdir(gated.top)


@pytest.fixture
def disk(public_path: Path) -> Iterator[Path]:
    """A filesystem that can be made to hold up whoever writes."""
    needs.commands("mkfs.ext4", "fsfreeze", "losetup")
    image, point = public_path / "image", public_path / "disk"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, check=False).returncode:
        needs.missing("loop devices")
    yield point
    subprocess.run(["fsfreeze", "-u", point], capture_output=True, check=False)
    subprocess.run(["umount", point], check=True)


@pytest.mark.uses("BIG_WRITES")
def test_a_large_write_that_waits_stops_nobody_else(public_path: Path, disk: Path, union_mount: MountFactory) -> None:
    lower = public_path / "lower"
    lower.mkdir()
    for name in ("file", "other", "another"):
        (lower / name).write_text(name)
    top = union_mount([lower], disk / "upper", workdir=disk / "work", at=public_path / "merged").path
    with open(top / "file") as reader, open(top / "file", "r+b", buffering=0) as writer, ThreadPoolExecutor() as pool:
        assert reader.read() == "file"  # from here on the driver writes, not the kernel
        subprocess.run(["fsfreeze", "-f", disk], check=True)
        written = pool.submit(writer.write, b"x" * (1 << 20))
        try:
            for name in ("other", "another", "other"):
                assert pool.submit((top / name).read_text).result(PROMPT_S) == name
            assert not written.done()
        finally:
            subprocess.run(["fsfreeze", "-u", disk], check=True)
        assert written.result(PROMPT_S) == 1 << 20
    assert (disk / "upper/file").stat().st_size == 1 << 20


def test_many_at_once_each_get_their_own_bytes(gated: Union, gate: Gate) -> None:
    """Reads, writes and listings from many threads, while a copy-up is under way."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            path = gated.top / f"dir/{number}"
            for turn in range(30):
                content = f"{number} {turn} ".encode() * 3000
                path.write_bytes(content)
                assert path.read_bytes() == content
                assert f"{number}" in os.listdir(gated.top / "dir")
        except BaseException as error:
            failures.append(error)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write_start, gated.top / "big")
        gate.wait_for_reader()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        gate.open()
        writer.result(PROMPT_S)
    assert failures == []


def opener(path: Path) -> int:
    """A process that opens `path` for writing, and ends with the errno it got; SIGALRM doesn't end it."""
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)  # os.open would try again
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.siginterrupt(signal.SIGALRM, True)
        fd = libc.open(os.fsencode(path), os.O_RDWR)
        os._exit(0 if fd >= 0 else ctypes.get_errno())
    return pid


def ended(pid: int) -> int:
    """Exit status of the process, which must end soon."""
    deadline = time.monotonic() + PROMPT_S
    while (found := os.waitpid(pid, os.WNOHANG))[0] == 0:
        assert time.monotonic() < deadline, "it waits for ever"
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(found[1])


def open_meanwhile(pool: ThreadPoolExecutor, gated: Union) -> "Future[None]":
    """Write to the file in a thread; return when its open has reached the driver."""
    before = opens(gated)
    future = pool.submit(write_start, gated.top / "big")
    wait_for("a second open", lambda: opens(gated) > before)
    return future


def opens(union: Union) -> int:
    return statistics.ask(os.fsencode(union.top))["open"]


def leftovers(union: Union) -> list[Path]:
    return list((union.upper.with_name("upper.work") / "work").iterdir())


@pytest.fixture
def interruptible(binding: str) -> None:
    if binding == "pyfuse3":
        pytest.skip("it tells nobody of signals")


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_that_ends_who_waits_ends_a_copy_up_and_nothing_is_left_of_it(
    gated: Union, gate: Gate, number: int
) -> None:
    pid = opener(gated.top / "big")
    gate.wait_for_reader()
    os.kill(pid, number)
    assert ended(pid) == -number
    gate.open()
    wait_for("an empty work directory", lambda: not leftovers(gated))
    assert not (gated.upper / "big").exists()
    write_start(gated.top / "big")
    assert (gated.upper / "big").stat().st_size == gate.size_bytes


@pytest.mark.usefixtures("interruptible")
def test_a_signal_that_who_waits_handles_ends_nothing(gated: Union, gate: Gate) -> None:
    """Programs don't expect EINTR of files, and one with a timer would begin again for ever."""
    pid = opener(gated.top / "big")
    gate.wait_for_reader()
    os.kill(pid, signal.SIGALRM)
    wait_for("the driver to hear of it", lambda: "interrupt" in statistics.ask(os.fsencode(gated.top)))
    gate.open()
    assert ended(pid) == 0
    assert (gated.upper / "big").stat().st_size == gate.size_bytes


@pytest.mark.usefixtures("interruptible")
def test_a_signal_to_one_of_two_leaves_the_copy_to_the_other(gated: Union, gate: Gate) -> None:
    first = opener(gated.top / "big")
    gate.wait_for_reader()
    with ThreadPoolExecutor() as pool:
        second = open_meanwhile(pool, gated)
        os.kill(first, signal.SIGTERM)
        assert ended(first) == -signal.SIGTERM
        gate.open()
        second.result(PROMPT_S)
    assert (gated.upper / "big").stat().st_size == gate.size_bytes
    assert gate.reads() < 1.5 * gate.size_bytes / LARGEST_READ
    assert leftovers(gated) == []


@pytest.mark.usefixtures("interruptible")
def test_who_asks_again_after_a_signal_gets_a_whole_copy(gated: Union, gate: Gate) -> None:
    first = opener(gated.top / "big")
    gate.wait_for_reader()
    os.kill(first, signal.SIGTERM)
    assert ended(first) == -signal.SIGTERM
    with ThreadPoolExecutor() as pool:
        second = open_meanwhile(pool, gated)
        gate.open()
        second.result(PROMPT_S)
    content = (gated.upper / "big").read_bytes()
    assert content == b"start" + (PATTERN * (gate.size_bytes // len(PATTERN)))[5:]
    assert leftovers(gated) == []
