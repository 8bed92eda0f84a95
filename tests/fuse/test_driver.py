"""The life of a driver process, and what its end leaves behind."""

import errno
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion, Union
from tests.support import needs
from tests.support.mounts import is_mount_point, mount_point_lines
from tests.support.waiting import wait_for

pytestmark = needs.root

END_TIMEOUT_S = 20


def fill(lower: Path) -> None:
    (lower / "file").write_text("lower")
    (lower / "dir").mkdir()


def ended(union: Union) -> int:
    """Exit status of the driver, which must end by itself."""
    union.mounted.is_mounted = False
    return union.driver.wait(END_TIMEOUT_S)


def test_a_killed_driver_leaves_a_mount_that_says_so_and_can_be_mounted_anew(make_union: MakeUnion) -> None:
    union = make_union(fill)
    (union.top / "file").write_text("written")
    (union.top / "dir/new").write_text("new")
    (union.top / "gone").write_text("")
    (union.top / "gone").unlink()
    os.kill(union.driver.pid, signal.SIGKILL)
    union.driver.wait()
    with pytest.raises(OSError) as error:
        os.listdir(union.top)
    assert error.value.errno == errno.ENOTCONN
    subprocess.run(["umount", str(union.top)], check=True)
    union.mounted.is_mounted = False
    union.mounted.remount()
    assert (union.top / "file").read_text() == "written"
    assert (union.top / "dir/new").read_text() == "new"
    assert sorted(os.listdir(union.top)) == ["dir", "file"]


@pytest.mark.uses("PASSTHROUGH")
def test_requests_to_a_killed_driver_fail_and_do_not_hang(make_union: MakeUnion, open_fds, binding: str) -> None:
    union = make_union(fill)
    fd = open_fds(union.top / "file", os.O_RDWR)
    os.kill(union.driver.pid, signal.SIGKILL)
    union.driver.wait()
    if binding == "direct":  # the kernel has the file itself
        assert os.pwrite(fd, b"x", 0) == len(os.pread(fd, 1, 0)) == 1
        requests: list[Callable[[], object]] = [lambda: os.fsync(fd), lambda: os.fchmod(fd, 0o600)]
    else:
        requests = [lambda: os.pread(fd, 5, 0), lambda: os.pwrite(fd, b"x", 0), lambda: os.fsync(fd)]
    for request in requests:
        with pytest.raises(OSError) as error:
            request()
        assert error.value.errno == errno.ENOTCONN
    subprocess.run(["umount", "-l", str(union.top)], check=True)
    union.mounted.is_mounted = False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(make_union: MakeUnion, number: signal.Signals) -> None:
    union = make_union(fill)
    (union.top / "file").write_text("written")
    os.kill(union.driver.pid, number)
    assert ended(union) == 0
    assert not is_mount_point(union.top)
    assert (union.upper / "file").read_text() == "written"


def test_a_signal_unmounts_what_is_in_use(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill)
    fd = open_fds(union.top / "file", os.O_RDWR)
    os.kill(union.driver.pid, signal.SIGTERM)
    assert ended(union) == 0
    assert not is_mount_point(union.top)
    with pytest.raises(OSError) as error:
        os.fsync(fd)
    assert error.value.errno == errno.ENOTCONN


def test_a_signal_at_any_moment_of_the_start_leaves_no_mount(public_path: Path) -> None:
    from tests.support.mounts import PYUNIONFS

    for name in ("lower", "merged"):
        (public_path / name).mkdir()
    point = public_path / "merged"
    command = [*PYUNIONFS, "-f", "-o", f"lowerdir={public_path}/lower", str(point)]
    for _ in range(8):
        driver = subprocess.Popen(command, stderr=subprocess.PIPE)
        wait_for("the mount", lambda: mount_point_lines(point))
        driver.send_signal(signal.SIGTERM)
        _, complaint = driver.communicate(timeout=END_TIMEOUT_S)
        assert (driver.returncode, complaint) == (0, b"")
        assert not is_mount_point(point)


def test_unmounting_ends_the_driver(make_union: MakeUnion) -> None:
    union = make_union(fill)
    subprocess.run(["umount", str(union.top)], check=True)
    assert ended(union) == 0


def test_a_lazy_unmount_ends_it_with_the_last_user(make_union: MakeUnion) -> None:
    union = make_union(fill)
    with open(union.top / "file", "r+b") as file:
        subprocess.run(["umount", "-l", str(union.top)], check=True)
        file.write(b"late")
        file.flush()
        assert union.driver.poll() is None
    assert ended(union) == 0
    assert (union.upper / "file").read_text() == "later"


def test_an_aborted_connection_ends_it(make_union: MakeUnion, tmp_path: Path) -> None:
    union = make_union(fill)
    control = tmp_path / "connections"
    control.mkdir()
    if subprocess.run(["mount", "-t", "fusectl", "fusectl", str(control)], check=False).returncode:
        needs.missing("fusectl")
    try:
        (control / str(os.minor(os.stat(union.top).st_dev)) / "abort").write_text("1")
    finally:
        subprocess.run(["umount", str(control)], check=True)
    assert ended(union) == 0
    subprocess.run(["umount", str(union.top)], check=False)


def test_the_read_ahead_is_large(make_union: MakeUnion) -> None:
    union = make_union(fill)
    device = mount_point_lines(union.top)[0].split(" ")[2]
    setting = Path(f"/sys/class/bdi/{device}/read_ahead_kb")
    wait_for("4 MiB", lambda: setting.read_text() == "4096\n")


def test_many_mounts_and_unmounts_leave_nothing(make_union: MakeUnion) -> None:
    union = make_union(fill)
    for turn in range(5):
        (union.top / "file").write_text(f"{turn}")
        union.mounted.remount()
        assert (union.top / "file").read_text() == f"{turn}"
    assert list((union.upper.with_name("upper.work") / "work").iterdir()) == []


def test_more_files_open_than_a_process_usually_may(make_union: MakeUnion, open_fds) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 8000:
        needs.missing("a higher limit of open files")
    union = make_union(lambda lower: [(lower / f"{number}").touch() for number in range(3000)])
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        fds = [open_fds(union.top / f"{number}") for number in range(3000)]
        assert len(set(fds)) == 3000
        (union.top / "one-more").touch()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4000), hard))
