"""A full disk where containers are kept."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion
from tests.support.waiting import wait_for


@pytest.fixture
def small(pyunion: Pyunion, tmp_path: Path) -> Iterator[Pyunion]:
    """The command, its containers on a disk of 1 MiB."""
    top = tmp_path / "small"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", top], check=True)
    command = Pyunion(top, pyunion.rootfs)
    command.runroot = tmp_path / "run"
    try:
        yield command
        (top / "filling").unlink(missing_ok=True)
        for name in command.containers():
            command("rm", "-f", name)
        assert list(command.runroot.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", top], check=True)


def fill(command: Pyunion) -> None:
    with open(command.root.parent / "filling", "wb", buffering=0) as file:
        try:
            while os.write(file.fileno(), bytes(4096)):
                pass
        except OSError:
            pass


def test_the_status_of_what_ends_is_told_though_it_can_not_be_kept(small: Pyunion) -> None:
    argv = small.argv("run", "-i", "--name=one", "--network=none", "--rootfs", small.rootfs)
    argv += ["sh", "-c", "echo ready; read x; exit 7"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        fill(small)
        process.communicate("\n", timeout=30)
    assert process.returncode == 7
    assert small("ps", "-a", "--format={{.Status}}").stdout.startswith("Exited")


def test_a_container_whose_health_can_not_be_noted_goes_on(small: Pyunion, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    health = ("--health-interval=20ms", "--health-start-interval=20ms", "--health-cmd=echo >>/marks/all")
    volume = ("-v", f"{tmp_path}/marks:/marks")
    on = ("--network=none", "--rootfs", small.rootfs)
    result = small("run", "-d", "--name=one", *health, *volume, *on, "sleep", "1000")
    assert result.stderr == ""
    fill(small)
    marks = tmp_path / "marks/all"
    before = marks.stat().st_size if marks.exists() else 0
    wait_for("more tests", lambda: marks.exists() and marks.stat().st_size > before + 3)
    assert small("exec", "one", "true").returncode == 0


def test_a_log_that_can_not_be_turned_over_is_left_out(small: Pyunion) -> None:
    """Its next file would need room for a name."""
    script = "echo ready; read x; seq 3000; exit 7"
    argv = small.argv("run", "-i", "--name=one", "--network=none", "--log-opt=max-size=1k", "--log-opt=max-file=3")
    argv += ["--rootfs", str(small.rootfs), "sh", "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        fill(small)
        out, _ = process.communicate("\n", timeout=30)
    assert (process.returncode, out.count("\n")) == (7, 3000)
