"""Signals sent to `pyunion run` reach the command."""

import signal
import subprocess

import pytest

from tests.e2e.conftest import Pyunion, descendants
from tests.support.waiting import wait_for

_TRAP = "trap 'echo got; exit 5' {0}; echo ready; while :; do read x; done"


def ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", f"{line!r} {process.communicate(timeout=30)}, exit status {process.returncode}"


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_a_signal_is_passed_on(pyunion: Pyunion, name: str) -> None:
    process = pyunion.start("-i", "sh", "-c", _TRAP.format(name))
    ready(process)
    process.send_signal(getattr(signal, f"SIG{name}"))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (5, "got\n", "")


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_the_command_dies_of_a_signal_it_does_not_catch(pyunion: Pyunion, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    process = pyunion.start("-i", "sh", "-c", "echo ready; exec cat")
    ready(process)
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    process.communicate()


def test_stop_and_cont_are_for_the_command(pyunion: Pyunion) -> None:
    pyunion("run", "-d", "--name=one", "--network=none", "--rootfs", pyunion.rootfs, "sleep", "1000")
    state = "sed -n 's/^State:.//p' /proc/1/status /proc/2/status | cut -c1 | xargs"
    pyunion("kill", "-s", "STOP", "one")
    wait_for("its stop", lambda: pyunion("exec", "one", "sh", "-c", state).stdout == "S T\n")
    pyunion("kill", "-s", "CONT", "one")
    wait_for("it to go on", lambda: pyunion("exec", "one", "sh", "-c", state).stdout == "S S\n")


def test_a_signal_while_the_container_is_made_ends_it(pyunion: Pyunion) -> None:
    process = pyunion.start("sleep", "1000")
    wait_for("a process of the container", lambda: len(descendants(process.pid)) > 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM), "for a shell these are the same"
    wait_for("nothing left", lambda: pyunion.leftovers() == [])


def test_background_processes_end_with_the_command(pyunion: Pyunion) -> None:
    process = pyunion.start("-i", "sh", "-c", "sleep 1000 & setsid sleep 1000 & echo ready; read x")
    ready(process)
    wait_for("both", lambda: len([one for one in descendants(process.pid) if one.title == "sleep 1000"]) == 2)
    family = descendants(process.pid)
    process.communicate("go\n", timeout=30)
    assert [one for one in family if one.alive()] == []
