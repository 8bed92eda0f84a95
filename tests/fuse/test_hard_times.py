"""What a driver lives through: no descriptors left, clients that are killed, unmounting under open files."""

import errno
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuse.conftest import Gate, MakeUnion, Union
from tests.support import needs
from tests.support.mounts import MountFactory, is_mount_point

pytestmark = needs.root

FILES = 400
LARGE_BYTES = 1 << 20
FEW, MANY = 200, 8000
PROMPT_S = 20


def fill(lower: Path) -> None:
    for number in range(FILES):
        (lower / f"{number}").write_text(f"{number}")
    with open(lower / "large", "wb") as file:
        file.write(bytes(LARGE_BYTES))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # reading it takes a thread


def limit(union: Union, descriptors: int) -> None:
    resource.prlimit(union.driver.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))


def refusal(call: Callable[[], object]) -> int:
    """The errno of a call, 0 of one that succeeds."""
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def test_a_driver_without_descriptors_says_so_and_goes_on_when_there_are_some(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    limit(union, FEW)
    held = [os.open(union.top / "large", os.O_RDONLY)]
    with pytest.raises(OSError) as error:
        for number in range(FILES):
            held.append(os.open(union.top / f"{number}", os.O_RDONLY))
    assert error.value.errno in (errno.EMFILE, errno.ENFILE)
    assert 20 < len(held) < FEW
    assert os.pread(held[1], 1, 0) == b"0", "what is open stays in order"
    assert os.pread(held[0], LARGE_BYTES, 0) == bytes(LARGE_BYTES)
    for call in (
        lambda: (union.top / "new").touch(), lambda: os.listdir(union.top), lambda: (union.top / "3").stat(),
        lambda: (union.top / "sub").mkdir(), lambda: os.truncate(union.top / "4", 0),
    ):  # fmt: skip
        assert refusal(call) in (0, errno.EMFILE, errno.ENFILE)
    for fd in held:
        os.close(fd)
    (union.top / "5").write_text("written")
    assert (union.top / "5").read_text() == "written"
    assert len(set(os.listdir(union.top)) - {"new", "sub", "large"}) == FILES
    union.mounted.remount()
    assert (union.top / "5").read_text() == "written"
    assert "Traceback" not in union.mounted.log_text()


def test_thousands_of_files_may_be_open_at_once(make_union: MakeUnion) -> None:
    """The driver raises its own limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 1000:
        needs.missing("a higher limit of open files")
    union = make_union(fill)
    assert resource.prlimit(union.driver.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fds: list[int] = []
    try:
        for number in range(MANY):
            fds.append(os.open(union.top / f"{number % FILES}", os.O_RDWR if number % 2 else os.O_RDONLY))
        assert os.pread(fds[-1], 9, 0) == f"{(MANY - 1) % FILES}".encode()
    finally:
        for fd in fds:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def gated(gate: Gate, public_path: Path, union_mount: MountFactory) -> Union:
    lower, upper = public_path / "lower", public_path / "upper"
    lower.mkdir()
    (lower / "other").write_text("other")
    mounted = union_mount([lower, gate.path], upper, at=public_path / "merged", options="debug")
    return Union(mounted, lower, upper)


@pytest.mark.parametrize("call", ["open(sys.argv[1]).read()", "open(sys.argv[1], 'r+')"])
def test_who_is_killed_in_the_middle_of_a_request_harms_nobody(gated: Union, gate: Gate, call: str) -> None:
    command = ["python3", "-c", f"import sys; {call}", str(gated.top / "big")]
    clients = [subprocess.Popen(command) for _ in range(5)]
    gate.wait_for_reader()
    for client in clients:
        client.kill()
    gate.open()
    for client in clients:
        client.wait(PROMPT_S)
    with open(gated.top / "big", "r+b") as file:
        file.write(b"mine")
    assert (gated.upper / "big").stat().st_size == gate.size_bytes
    assert list((gated.upper.with_name("upper.work") / "work").iterdir()) == []
    assert "Traceback" not in gated.mounted.log_text()


def test_killed_clients_of_all_kinds_of_requests(make_union: MakeUnion) -> None:
    """Processes that never stop working, killed at moments of their own."""
    union = make_union(fill)
    script = "while :; do echo x > new$$; mv new$$ a$$; cat * > /dev/null; ls -l > /dev/null; rm a$$; done"
    for turn in range(12):
        client = subprocess.Popen(["sh", "-c", script], cwd=union.top, stderr=subprocess.DEVNULL, process_group=0)
        time.sleep(0.02 * turn)
        os.killpg(client.pid, signal.SIGKILL)
        client.wait(PROMPT_S)
    assert len([name for name in os.listdir(union.top) if name.isdigit()]) == FILES
    assert "Traceback" not in union.mounted.log_text()


def test_a_lazy_unmount_under_many_open_files_ends_the_driver_with_the_last(make_union: MakeUnion) -> None:
    union = make_union(fill)
    fds = [os.open(union.top / f"{number}", os.O_RDWR) for number in range(50)]
    subprocess.run(["umount", "-l", str(union.top)], check=True)
    union.mounted.is_mounted = False
    assert not is_mount_point(union.top)
    for fd in fds:
        assert os.pwrite(fd, b"late", 0) == 4
        assert os.pread(fd, 10, 0) == b"late"
        assert union.driver.poll() is None
        os.close(fd)
    assert union.driver.wait(PROMPT_S) == 0
    assert all((union.upper / f"{number}").read_text() == "late" for number in range(50))


def test_a_kill_and_a_new_mount_while_clients_work_lose_no_file(make_union: MakeUnion) -> None:
    union = make_union(fill)
    written: list[int] = []
    failures: list[int] = []

    def write() -> None:
        for number in range(FILES):
            try:
                (union.top / f"{number}").write_text(f"new {number}")
            except OSError as error:
                failures.append(error.errno or 0)
                return
            written.append(number)

    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(write)
        while len(written) < 20:
            time.sleep(0.001)
        os.kill(union.driver.pid, signal.SIGKILL)
        union.driver.wait()
        work.result(PROMPT_S)
    assert failures == [errno.ENOTCONN] or failures == [errno.ECONNABORTED]
    subprocess.run(["umount", "-l", str(union.top)], check=True)
    union.mounted.is_mounted = False
    union.mounted.remount()
    for number in range(FILES):
        text = (union.top / f"{number}").read_text()
        assert text == f"new {number}" if number in written else text in (f"{number}", f"new {number}", "")


def test_a_client_that_never_stops_writing_does_not_hold_up_another(make_union: MakeUnion) -> None:
    """Through the driver, as without passthrough: somebody reads the file. Others are looked at, each time anew."""
    union = make_union(fill, "timeout=0")
    reader = os.open(union.top / "0", os.O_RDONLY)
    stop = threading.Event()

    def write() -> None:
        with open(union.top / "0", "r+b", buffering=0) as file:
            while not stop.is_set():
                for _ in range(64):
                    file.write(bytes(1 << 20))
                file.seek(0)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            for number in range(1, FILES):
                assert (union.top / f"{number}").stat().st_size == len(f"{number}")
            assert not writer.done()
        finally:
            stop.set()
        writer.result(PROMPT_S)
    os.close(reader)
