"""Limits of containers as a user gives, changes and sees them."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runtime.container.cgroups import hierarchies
from tests.cgroups.conftest import Pyunion
from tests.e2e.conftest import descendants
from tests.support import needs

pytestmark = needs.root

BASE = ("--network=none", "--rootfs")


def need(controller: str) -> None:
    if not any(controller in hierarchy.controllers for hierarchy in hierarchies.find()):
        needs.missing(f"no control groups with {controller}")


@contextmanager
def running(pyunion: Pyunion, *options: str) -> Iterator[str]:
    """A container in the background."""
    started = pyunion("run", "-d", *options, *BASE, pyunion.rootfs, "sleep", "1000")
    assert started.stderr == ""
    name = started.stdout.strip()
    yield name
    pyunion("rm", "-f", name)


def state(pyunion: Pyunion, name: str) -> dict[str, object]:
    (found,) = json.loads(pyunion("inspect", name).stdout)
    return dict(found["State"])


@pytest.mark.parametrize("terminal", [(), ("-t",)])
def test_a_container_that_ran_out_of_memory_says_so(pyunion: Pyunion, terminal: tuple[str, ...]) -> None:
    need("memory")
    result = pyunion("run", "--name", "big", "-m", "16m", *terminal, *BASE, pyunion.rootfs, "tail", "/dev/zero")
    assert result.returncode == 137
    assert result.stderr.splitlines() == ["pyunion: the kernel killed the command: it ran out of memory"]
    assert state(pyunion, "big")["OOMKilled"] is True
    events = pyunion("events", "--since", "0", "--until", "9999999999", "--filter", "event=oom").stdout
    assert len(events.splitlines()) == 1


def test_one_of_whose_processes_another_ran_out_of_memory_goes_on(pyunion: Pyunion) -> None:
    need("memory")
    script = "tail /dev/zero; echo went on"
    result = pyunion("run", "--name", "big", "-m", "64m", *BASE, pyunion.rootfs, "sh", "-c", script)
    assert (result.returncode, result.stdout) == (0, "went on\n")
    assert "pyunion" not in result.stderr
    assert state(pyunion, "big")["OOMKilled"] is True


def test_one_that_was_killed_otherwise_does_not(pyunion: Pyunion) -> None:
    result = pyunion("run", "--name", "self", *BASE, pyunion.rootfs, "sh", "-c", "kill -9 $$")
    assert (result.returncode, result.stderr) == (137, "")
    assert state(pyunion, "self")["OOMKilled"] is False


def test_the_usage_of_a_container(pyunion: Pyunion) -> None:
    need("memory")
    with running(pyunion, "-m", "64m", "--name", "used"):
        line = pyunion("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}").stdout
    name, used, slash, limit, pids = line.split()
    assert (name, slash, limit, pids) == ("used", "/", "64MiB", "2")
    assert used.endswith("MiB")


def test_limits_can_be_changed_and_stay_so(pyunion: Pyunion) -> None:
    need("memory")
    show = ("stats", "--no-stream", "--format", "{{.MemUsage}}")
    with running(pyunion, "-m", "64m") as name:
        assert pyunion("update", "-m", "256m", "--memory-swap", "256m", "--pids-limit", "50", name).stderr == ""
        assert pyunion(*show).stdout.endswith("/ 256MiB\n")
        pyunion("stop", "-t", "0", name)
        pyunion("start", name)
        assert pyunion(*show).stdout.endswith("/ 256MiB\n")


def test_a_change_that_makes_no_sense_changes_nothing(pyunion: Pyunion) -> None:
    with running(pyunion) as name:
        result = pyunion("update", "--cpus", "9999", name)
        assert "--cpus: it is a number from 0.01" in result.stderr
        assert "unknown flag: --cpu-speed" in pyunion("update", "--cpu-speed", "1", name).stderr
        assert pyunion("update", "-m", "64m", "absent").returncode == 1


def test_usage_of_one_that_does_not_run_is_refused(pyunion: Pyunion) -> None:
    pyunion("create", "--name", "still", *BASE, pyunion.rootfs, "true")
    assert "container still is not running" in pyunion("stats", "--no-stream", "still").stderr


def test_a_paused_container_can_be_killed(pyunion: Pyunion) -> None:
    with running(pyunion) as name:
        assert pyunion("pause", name).stderr == ""
        assert state(pyunion, name)["Paused"] is True
        assert pyunion("kill", name).stderr == ""
        assert state(pyunion, name)["Running"] is False


def test_who_is_scheduled_in_real_time_runs_containers_too(pyunion: Pyunion) -> None:
    """Where a group gets no time for that, what is in it is scheduled as usual."""
    argv = ["chrt", "-f", "10", *pyunion.argv("run", "--rm", *BASE, pyunion.rootfs, "echo", "hi")]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "hi\n", "")


def test_a_limit_that_cannot_be_had_is_refused_and_nothing_is_left(pyunion: Pyunion) -> None:
    need("cpuset")
    result = pyunion.run("--network=none", "--cpuset-cpus", "4000", "true")
    complaint = "pyunion run: --cpuset-cpus: cpuset.cpus doesn't take '4000': Numerical result out of range\n"
    assert (result.returncode, result.stdout, result.stderr) == (125, "", complaint)


def test_a_container_sees_its_own_limits_and_nothing_above(pyunion: Pyunion) -> None:
    need("memory")
    look = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; cat /proc/self/cgroup; ls -R ."
    output = pyunion.sh(look, "--network=none", "-m", "64m")
    assert output.startswith(f"{64 << 20}\n")
    assert not {"pyunion", "/.."} & set(output.replace(":", "\n").split())
    assert all(line.endswith(":/") for line in output.splitlines() if line[:1].isdigit() and ":" in line)
    for options, answer in (((), "Read-only file system"), (("--privileged",), "")):
        write = "cd /sys/fs/cgroup; [ ! -d memory ] || cd memory; mkdir mine"
        assert answer in pyunion.run("--network=none", *options, "sh", "-c", write).stderr


def test_best_effort_runs_without_what_cannot_be_had(pyunion: Pyunion) -> None:
    options = ("--network=none", "--cgroups=best-effort", "--cpuset-cpus=4000")
    assert pyunion.output(*options, "echo", "runs") == "runs\n"


def test_without_control_groups_a_container_is_in_none_of_ours(pyunion: Pyunion) -> None:
    assert pyunion.sh("cat /proc/self/cgroup", "--network=none", "--cgroups=disabled", "--cgroupns=host") == Path(
        "/proc/self/cgroup"
    ).read_text()


def groups_of(identity: str) -> list[str]:
    return [str(path) for hierarchy in hierarchies.find() for path in Path(hierarchy.base).rglob(identity)]


def test_nothing_is_left_when_a_container_has_ended(pyunion: Pyunion) -> None:
    with running(pyunion) as identity:
        assert groups_of(identity)
    assert groups_of(identity) == []


def test_nothing_is_left_after_all_its_processes_were_killed_at_once(pyunion: Pyunion) -> None:
    with running(pyunion, "-m", "64m") as identity:
        first = state(pyunion, identity)["Pid"]
        monitor = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
        family = [one for one in descendants(monitor) if one.pid != first]
        for pid in (monitor, *(one.pid for one in family)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert pyunion("ps").returncode == 0
        assert groups_of(identity) == []
