"""Limits of single disks by control groups of version 2, on a disk of its own: `tests/vm/run` runs this."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion, busybox, own_network, pyunion

__all__ = ["busybox", "own_network", "pyunion"]

_DISK = "/dev/loop0"
_BYTES = 4 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """Its numbers."""
    file = tmp_path / "disk"
    file.write_bytes(bytes(_BYTES))
    subprocess.run(["losetup", _DISK, file], check=True)
    device = os.stat(_DISK).st_rdev
    yield f"{os.major(device)}:{os.minor(device)}"
    subprocess.run(["losetup", "-d", _DISK], check=True)


def start(pyunion: Pyunion, *options: str) -> Path:
    """A container with that disk: its control group."""
    options = (*options, "--device", _DISK, "--network=none")
    started = pyunion("run", "-d", "--name", "one", *options, "--rootfs", pyunion.rootfs, "sleep", "1000")
    assert started.stderr == ""
    return Path("/sys/fs/cgroup/pyunion", started.stdout.strip())


def test_speeds_are_limited_at_the_disk(pyunion: Pyunion, disk: str) -> None:
    group = start(pyunion, "--device-read-bps", f"{_DISK}:1m", "--device-write-iops", f"{_DISK}:10")
    assert (group / "io.max").read_text() == f"{disk} rbps=1048576 wbps=max riops=max wiops=10\n"


def test_the_weight_of_a_disk_whose_time_nobody_shares_out_is_refused(pyunion: Pyunion, disk: str) -> None:
    """The kernel takes one for disks that io.cost.qos of the topmost group enables."""
    result = pyunion.run("--network=none", "--blkio-weight", "500", "--blkio-weight-device", f"{_DISK}:10", "true")
    refusal = f"--blkio-weight-device: io.weight doesn't take '{disk} 1': Operation not supported"
    assert (result.returncode, result.stderr.startswith(f"pyunion run: {refusal}")) == (125, True)


def test_what_is_read_of_a_disk_is_counted(pyunion: Pyunion, disk: str) -> None:
    start(pyunion)
    assert pyunion("exec", "one", "dd", f"if={_DISK}", "of=/dev/null", "bs=1M", "iflag=direct").returncode == 0
    assert pyunion("stats", "--no-stream", "--format", "{{.BlockIO}}", "one").stdout.startswith("4.19MB / ")
