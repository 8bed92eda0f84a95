"""Whatever is killed, and whenever: with the next command, no interface, rule, address or port is left in use.

That nothing is left after an orderly end, the fixture `machine` asserts for every test of this directory.
"""

import os
import random
import signal
import subprocess
from contextlib import suppress

import pytest

from tests.e2e.conftest import descendants, process
from tests.network.conftest import Machine, Pyunion, left_behind, serve
from tests.support.waiting import wait_for

KILLS = int(os.environ.get("PYUNION_TEST_KILLS", "6"))
ROLES = ("monitor", "driver", "init", "ports and names")


@pytest.mark.parametrize("role", ROLES)
def test_a_kill_of_one_leaves_nothing(pyunion: Pyunion, role: str) -> None:
    pyunion("network", "create", "app")
    serve(pyunion, "web", "--network=app", "-p8080:80")
    os.kill(pid_of(pyunion, "web", role), signal.SIGKILL)
    if role == "ports and names":
        pyunion("rm", "-f", "web")
    wait_for("end", lambda: "Up " not in pyunion("ps").stdout)
    wait_for("nothing left", lambda: left_behind() == [])
    result = pyunion.run("--network=app", "--ip", "10.100.0.2", "-p8080:80", "true")
    assert (result.returncode, result.stderr) == (0, "")


def pid_of(pyunion: Pyunion, name: str, role: str) -> int:
    """The number of one of the processes of a container."""
    first = process(int(pyunion("inspect", "--format", "{{.State.Pid}}", name).stdout))
    assert first is not None
    monitor = process(first.parent)
    assert monitor is not None
    (found,) = [one for one in [monitor, *descendants(monitor.pid)] if one.title.startswith(f"pyunion: {role}")]
    return found.pid


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_kill_at_any_moment_of_the_start_leaves_nothing(pyunion: Pyunion, seed: int) -> None:
    pyunion("network", "create", "app")
    argv = pyunion.argv("run", "--rm", "--network=app", "-p8080:80", "--rootfs", pyunion.rootfs, "sleep", "1000")
    chance = random.Random(seed)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as popen:
        with pytest.raises(subprocess.TimeoutExpired):
            popen.wait(chance.uniform(0.05, 0.5))
        family = [popen.pid, *(one.pid for one in descendants(popen.pid))]
        some = chance.sample(family, chance.randint(1, len(family)))
        for pid in (*some, *family):  # the rest, too, lest the container lives
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    wait_for("sweep", lambda: pyunion("ps", "-a").stdout.count("\n") == 1 and not os.listdir(pyunion.runroot))
    assert left_behind() == []
    assert pyunion.run("--network=app", "-p8080:80", "true").returncode == 0


def test_the_machine_went_down(pyunion: Pyunion, machine: Machine) -> None:
    """After it, RUNROOT is empty, and so is the kernel; addresses are free and the container starts again."""
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    pyunion("kill", "web")
    wait_for("end", lambda: os.listdir(pyunion.runroot) == [])
    os.rmdir(pyunion.runroot)
    assert pyunion("start", "web").returncode == 0
    wait_for("server", lambda: machine.ask("tcp", "127.0.0.1", 8080) == "10.90.0.1")
