"""Clocks that a container has of its own."""

import os
import time

import pytest

from tests.e2e.conftest import Pyunion

_DAY_S = 86400
BOTH = ("--time-offset", f"boottime={_DAY_S}", "--time-offset", f"monotonic={2 * _DAY_S}")


def uptime_s(text: str) -> float:
    return float(text.split()[0])


@pytest.mark.parametrize("more", [(), (f"--uidmap=0:{1 << 30}:65536",)], ids=["", "users"])
def test_the_command_and_others_in_it_see_them_and_nobody_else_does(pyunion: Pyunion, more: tuple[str, ...]) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    pyunion("run", "-d", "--name=box", "--network=none", *more, *BOTH, "--rootfs", pyunion.rootfs, "sh", "-c", """
        cat /proc/uptime; sleep 1000""")
    inside = [uptime_s(pyunion("exec", "box", "cat", "/proc/uptime").stdout)]
    inside += [uptime_s(pyunion("logs", "box").stdout)]
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert all(before <= seconds - _DAY_S <= after + 0.01 for seconds in inside)
    assert pyunion("exec", "box", "readlink", "/proc/self/ns/time").stdout.strip() != os.readlink("/proc/self/ns/time")


def test_they_are_the_same_when_it_is_started_again(pyunion: Pyunion) -> None:
    command = ("cat", "/proc/self/timens_offsets")
    pyunion("run", "--name=box", "--network=none", *BOTH, "--rootfs", pyunion.rootfs, *command)
    fields = pyunion("start", "-a", "box").stdout.split()
    assert fields == ["monotonic", str(2 * _DAY_S), "0", "boottime", str(_DAY_S), "0"]


def test_without_an_offset_there_is_no_namespace_of_its_own(pyunion: Pyunion) -> None:
    shown = pyunion.output("--network=none", "readlink", "/proc/self/ns/time")
    assert shown.strip() == os.readlink("/proc/self/ns/time")


@pytest.mark.parametrize("text", ["boottime", "boottime=", "realtime=5", "monotonic=1.5", "boottime=-99999999999"])
def test_what_cannot_be_is_refused(pyunion: Pyunion, text: str) -> None:
    result = pyunion.run("--network=none", "--time-offset", text, "true")
    assert (result.returncode, "--time-offset" in result.stderr) == (125, True)
