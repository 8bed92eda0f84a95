"""Whatever is killed, in whatever order: no process, mount or directory stays behind."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Process, Pyunion, descendants, process
from tests.support.waiting import wait_for

ROLES = ("cli", "monitor", "driver", "init", "command")


def start(pyunion: Pyunion, *options: str) -> tuple["subprocess.Popen[str]", dict[str, Process]]:
    """A container, and its processes by role."""
    script = "echo x >/x; sleep 1000 & echo ready; read x"
    argv = pyunion.argv("run", *options, "--rootfs", pyunion.rootfs, "-i", "sh", "-c", script)
    popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert popen.stdout is not None
    assert popen.stdout.readline() == "ready\n"
    own = process(popen.pid)
    assert own is not None
    family = {"cli": own}
    for one in descendants(popen.pid):
        role = next((role for role in ROLES[1:4] if one.title.startswith(f"pyunion: {role}")), "command")
        family.setdefault(role if role not in family else one.title, one)
    assert set(ROLES) < set(family)
    return popen, family


def everybody_gone(popen: "subprocess.Popen[str]", family: dict[str, Process]) -> bool:
    popen.poll()
    return not any(one.alive() for one in family.values())


@pytest.mark.parametrize("role", ROLES)
def test_killing_one_ends_all_and_leaves_nothing(pyunion: Pyunion, role: str) -> None:
    popen, family = start(pyunion, "--rm")
    os.kill(family[role].pid, signal.SIGKILL)
    wait_for("all processes gone", lambda: everybody_gone(popen, family))
    popen.communicate(timeout=30)
    assert pyunion.leftovers() == []
    expected = {"cli": -9, "monitor": 125, "driver": 125, "init": 137, "command": 137}
    assert popen.returncode == expected[role]


@pytest.mark.parametrize("role", ROLES)
def test_killing_one_without_rm_leaves_the_stopped_container(pyunion: Pyunion, role: str) -> None:
    popen, family = start(pyunion, "--name", "kept")
    os.kill(family[role].pid, signal.SIGKILL)
    wait_for("all processes gone", lambda: everybody_gone(popen, family))
    popen.communicate(timeout=30)
    assert not list(pyunion.runroot.iterdir())
    assert "Exited (1" in pyunion("ps", "-a").stdout
    assert pyunion("diff", "kept").stdout == "A /x\n"
    result = pyunion("start", "-ai", "kept", stdin="\n")
    assert (result.returncode, result.stdout) == (0, "ready\n")
    assert pyunion("rm", "kept").returncode == 0


def test_killing_all_at_once_is_cleaned_up_by_the_next_command(pyunion: Pyunion) -> None:
    popen, family = start(pyunion, "--rm", "--name", "gone")
    for role in ("cli", "monitor", "driver"):
        os.kill(family[role].pid, signal.SIGSTOP)
    for role in ("cli", "monitor", "driver"):
        os.kill(family[role].pid, signal.SIGKILL)
    wait_for("all processes gone", lambda: everybody_gone(popen, family))
    popen.communicate(timeout=30)
    assert pyunion("ps", "-aq").stdout == ""
    assert pyunion.leftovers() == []


@pytest.mark.parametrize("role", ["cli", "monitor"])
@pytest.mark.parametrize("moment", range(5))
def test_killing_while_the_container_is_made(pyunion: Pyunion, role: str, moment: int) -> None:
    popen = pyunion.start("sh", "-c", "sleep 1000")
    wait_for("processes", lambda: len(descendants(popen.pid)) > min(moment, 2))
    family = {str(one.pid): one for one in descendants(popen.pid)}
    monitor = next(one for one in family.values() if one.parent == popen.pid)
    os.kill(popen.pid if role == "cli" else monitor.pid, signal.SIGKILL)
    wait_for("all processes gone", lambda: everybody_gone(popen, family))
    popen.communicate(timeout=30)
    pyunion("ps")
    assert pyunion.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killing_the_command_before_it_knows_what_to_run_leaves_nothing(
    pyunion: Pyunion, tmp_path: Path, number: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "variables")
    popen = pyunion.start("--env-file", tmp_path / "variables", "true")
    writer = os.open(tmp_path / "variables", os.O_WRONLY)  # waits until the command reads
    family = {one.title: one for one in descendants(popen.pid)}
    popen.send_signal(number)
    os.close(writer)
    wait_for("all processes gone", lambda: everybody_gone(popen, family))
    popen.communicate(timeout=30)
    assert pyunion.leftovers() == []


def test_a_terminated_driver_ends_the_container(pyunion: Pyunion) -> None:
    popen, family = start(pyunion, "--rm")
    os.kill(family["driver"].pid, signal.SIGTERM)
    wait_for("all processes gone", lambda: everybody_gone(popen, family))
    popen.communicate(timeout=30)
    assert pyunion.leftovers() == []
