"""Containers in the background: `run -d`, `create`, `start`, `stop`, `kill`, `restart`, `wait`, `pause`, `rename`."""

import fcntl
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion, descendants, process
from tests.support.waiting import DEADLINE_S, wait_for

_UNTIL_NOW = ("--since", "1h", "--until", "0s")
_READY = "echo ready; while :; do sleep 0.1; done"


def detach(pyunion: Pyunion, *arguments: str | Path, script: str = _READY) -> str:
    """A container called `one` in the background: its id."""
    result = pyunion("run", "-d", "--name", "one", *arguments, "--rootfs", pyunion.rootfs, "sh", "-c", script)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def ready(pyunion: Pyunion) -> None:
    wait_for("its first line", lambda: "ready" in pyunion("logs", "one").stdout)


def has_socket(pid: int) -> bool:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since they were listed
            if os.readlink(link).startswith("socket:"):
                return True
    return False


def status(pyunion: Pyunion, name: str = "one") -> str:
    return pyunion("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name).stdout.strip()


def test_run_detached_prints_the_id_when_the_command_runs(pyunion: Pyunion) -> None:
    identity = detach(pyunion)
    assert identity == pyunion("ps", "-q", "--no-trunc").stdout.strip()
    assert status(pyunion) == "running 0"


def test_a_command_that_ended_before_anybody_looked_did_run(pyunion: Pyunion, tmp_path: Path) -> None:
    """The monitor, stopped meanwhile, finds the start and the end at once."""
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    caller = pyunion.start("-d", "--network=none", "--name=one", "--pidfile", fifo, "sh", "-c", "exit 3")

    def child(title: str) -> list[int]:
        return [one.pid for one in descendants(caller.pid) if one.title == title]

    wait_for("monitor and driver", lambda: child("pyunion: monitor") and child("pyunion: driver of one"))
    monitor, driver = child("pyunion: monitor")[0], child("pyunion: driver of one")[0]  # forks are called so, too
    os.kill(driver, signal.SIGSTOP)  # so that the command can't be found yet
    try:
        first = int(fifo.read_text())
        wait_for("a monitor that waits", lambda: "(sleeping)" in Path(f"/proc/{monitor}/status").read_text())
        os.kill(monitor, signal.SIGSTOP)
        os.kill(driver, signal.SIGCONT)
        wait_for("the end of the first process", lambda: process(first) is None)
    finally:
        os.kill(monitor, signal.SIGCONT)
    output, errors = caller.communicate(timeout=DEADLINE_S)
    assert (caller.returncode, len(output), errors) == (0, 65, "")


def test_a_command_that_cannot_run_is_told_to_who_detaches(pyunion: Pyunion) -> None:
    result = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "nosuch")
    assert result.returncode == 127
    assert "not found" in result.stderr
    assert pyunion.leftovers() == []


def test_rm_of_a_detached_container_happens_when_it_ends(pyunion: Pyunion) -> None:
    detach(pyunion, "--rm", script="sleep 0.2")
    wait_for("nothing left", lambda: pyunion.leftovers() == [])


def test_the_id_is_written_to_cidfile_which_must_be_new(pyunion: Pyunion, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    identity = detach(pyunion, "--cidfile", file)
    assert file.read_text() == identity
    result = pyunion("run", "--cidfile", file, "--rootfs", pyunion.rootfs, "true")
    assert (result.returncode, "exists already" in result.stderr) == (125, True)


def test_create_runs_nothing_until_start(pyunion: Pyunion) -> None:
    identity = pyunion("create", "--name", "one", "--rootfs", pyunion.rootfs, "sh", "-c", "echo ran; exit 4").stdout
    assert status(pyunion) == "created 0"
    assert "Created" in pyunion("ps", "-a").stdout
    assert pyunion("start", "one").stdout == "one\n"
    assert pyunion("wait", identity.strip()).stdout == "4\n"
    assert pyunion("logs", "one").stdout == "ran\n"
    result = pyunion("start", "-a", "one")
    assert (result.returncode, result.stdout) == (4, "ran\n")


def test_wait_also_waits_until_the_end_is_recorded(pyunion: Pyunion) -> None:
    """A monitor that does so listens to nobody any more, and holds the lock."""
    identity = pyunion("create", "--name", "one", "--rootfs", pyunion.rootfs, "true").stdout.strip()
    (pyunion.runroot / identity).mkdir(parents=True)
    with open(pyunion.runroot / identity / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        argv = pyunion.argv("wait", "one")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as waiting:
            queued = re.compile(rf"-> FLOCK .* {waiting.pid} ")
            wait_for("it to wait", lambda: queued.search(Path("/proc/locks").read_text()) or waiting.poll() is not None)
            assert waiting.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert waiting.communicate(timeout=30)[0] == "0\n"


def test_a_created_container_whose_command_is_missing_stays(pyunion: Pyunion) -> None:
    assert pyunion("create", "--name", "one", "--rootfs", pyunion.rootfs, "nosuch").returncode == 0
    result = pyunion("start", "one")
    assert (result.returncode, "not found" in result.stderr) == (1, True)
    assert pyunion.containers() == ["one"]


def test_stop_sends_term_and_then_kills(pyunion: Pyunion) -> None:
    detach(pyunion, script="trap 'echo asked' TERM; " + _READY)
    ready(pyunion)
    began = time.monotonic()
    assert pyunion("stop", "-t", "1", "one").stdout == "one\n"
    assert time.monotonic() - began >= 1
    assert status(pyunion) == "exited 137"
    assert pyunion("logs", "one").stdout == "ready\nasked\n"


def test_stop_sends_the_signal_that_the_container_was_made_with(pyunion: Pyunion) -> None:
    detach(pyunion, "--stop-signal", "USR1", script="trap 'echo usr1; exit 9' USR1; " + _READY)
    ready(pyunion)
    pyunion("stop", "one")
    assert (status(pyunion), pyunion("logs", "one").stdout) == ("exited 9", "ready\nusr1\n")
    assert pyunion("stop", "one").returncode == 0, "stopping what is stopped is no error"


def test_kill_sends_any_signal_by_any_of_its_names(pyunion: Pyunion) -> None:
    detach(pyunion, script="trap 'echo hup' HUP; trap 'exit 3' USR2; " + _READY)
    ready(pyunion)
    for name in ("HUP", "SIGHUP", "1"):
        count = pyunion("logs", "one").stdout.count("hup")
        assert pyunion("kill", "-s", name, "one").returncode == 0
        wait_for("its answer", lambda count=count: pyunion("logs", "one").stdout.count("hup") > count)  # type: ignore[misc]
    pyunion("kill", "-s", "USR2", "one")
    wait_for("its end", lambda: status(pyunion) == "exited 3")
    result = pyunion("kill", "one")
    assert (result.returncode, result.stderr) == (1, "pyunion kill: container one is not running\n")
    assert pyunion("kill", "-s", "NOSUCH", "one").returncode == 125


def test_restart_keeps_what_was_written(pyunion: Pyunion) -> None:
    detach(pyunion, script="echo x >>/count; wc -l </count; " + _READY)
    ready(pyunion)
    assert pyunion("restart", "-t", "0", "one").stdout == "one\n"
    wait_for("its second start", lambda: pyunion("logs", "one").stdout.count("ready") == 2)
    assert pyunion("logs", "one").stdout == "1\nready\n2\nready\n"


def test_wait_gives_the_exit_status_also_of_what_is_removed(pyunion: Pyunion) -> None:
    detach(pyunion, "--rm", "-i", script="echo ready; read line; exit 6")
    ready(pyunion)
    waiting = subprocess.Popen(pyunion.argv("wait", "one"), stdout=subprocess.PIPE, text=True)
    wait_for("its connection", lambda: has_socket(waiting.pid))
    attached = subprocess.Popen(pyunion.argv("attach", "one"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    attached.communicate("go\n", timeout=30)
    assert attached.returncode == 6
    assert waiting.communicate(timeout=30)[0] == "6\n"


def test_restart_removes_nothing(pyunion: Pyunion) -> None:
    detach(pyunion, "--rm", script="echo x >>/runs; exec sleep 1000")
    wait_for("its command", lambda: pyunion("exec", "one", "cat", "/runs").stdout == "x\n")
    assert pyunion("restart", "-t", "0", "one").stdout == "one\n"
    wait_for("its command", lambda: pyunion("exec", "one", "cat", "/runs").stdout == "x\nx\n")
    pyunion("stop", "-t", "0", "one")
    assert pyunion.containers() == []


def test_stop_waits_for_years_if_it_is_told_to(pyunion: Pyunion) -> None:
    detach(pyunion, script="trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done")
    ready(pyunion)
    assert pyunion("stop", "-t", "99999999", "one").stderr == ""
    assert status(pyunion) == "exited 4"


def test_a_paused_container_stands_still_and_can_be_stopped(pyunion: Pyunion) -> None:
    detach(pyunion, script="while :; do echo tick; sleep 0.05; done")
    wait_for("ticks", lambda: "tick" in pyunion("logs", "one").stdout)
    assert pyunion("pause", "one").returncode == 0
    assert status(pyunion) == "paused 0"
    assert "(Paused)" in pyunion("ps").stdout
    before = pyunion("logs", "one").stdout
    assert pyunion("exec", "one", "true").returncode == 1
    time.sleep(0.3)
    assert pyunion("logs", "one").stdout == before
    pyunion("unpause", "one")
    wait_for("more ticks", lambda: pyunion("logs", "one").stdout != before)
    pyunion("pause", "one")
    assert pyunion("stop", "-t", "1", "one").returncode == 0
    assert status(pyunion).startswith("exited")


def test_rename(pyunion: Pyunion) -> None:
    detach(pyunion)
    assert pyunion("rename", "one", "two").returncode == 0
    assert pyunion.containers() == ["two"]
    assert pyunion("exec", "two", "true").returncode == 0
    assert "no such container" in pyunion("exec", "one", "true").stderr
    assert pyunion("create", "--name", "one", "--rootfs", pyunion.rootfs, "true").returncode == 0
    assert "already in use" in pyunion("rename", "one", "two").stderr


@pytest.mark.parametrize(("policy", "code", "runs"), [("no", 3, 1), ("on-failure:2", 3, 3), ("on-failure", 0, 1)])
def test_restart_policies_that_come_to_an_end(pyunion: Pyunion, policy: str, code: int, runs: int) -> None:
    detach(pyunion, "--restart", policy, script=f"echo run; exit {code}")
    wait_for("its last end", lambda: status(pyunion) == f"exited {code}")
    assert pyunion("logs", "one").stdout == "run\n" * runs


def test_restarts_are_counted_from_the_last_start(pyunion: Pyunion) -> None:
    detach(pyunion, "--restart=on-failure:1", script="echo run; exit 3")
    for runs in (2, 4):
        wait_for("its last end", lambda: status(pyunion) == "exited 3")
        assert pyunion("logs", "one").stdout == "run\n" * runs
        assert pyunion("inspect", "-f", "{{.RestartCount}}", "one").stdout == "1\n"
        pyunion("start", "one")
    pyunion("rm", "-f", "one")


def test_restart_always_ends_with_stop(pyunion: Pyunion) -> None:
    detach(pyunion, "--restart", "always", script="echo run")
    wait_for("three runs", lambda: pyunion("logs", "one").stdout.count("run") >= 3)
    pyunion("stop", "one")
    assert status(pyunion) == "exited 0"


def test_restart_and_rm_exclude_each_other(pyunion: Pyunion) -> None:
    result = pyunion.run("--restart", "always", "true")
    assert (result.returncode, "--restart" in result.stderr) == (125, True)


def test_ps_filters_and_formats(pyunion: Pyunion) -> None:
    detach(pyunion, "--label", "kind=web")
    pyunion("create", "--name", "two", "--rootfs", pyunion.rootfs, "true")
    names = ("ps", "--format", "{{.Names}}")
    assert pyunion(*names).stdout == "one\n"
    assert pyunion(*names, "-a").stdout == "two\none\n"
    assert pyunion(*names, "-f", "label=kind").stdout == "one\n"
    assert pyunion(*names, "-f", "label=kind=db").stdout == ""
    assert pyunion(*names, "-f", "status=created").stdout == "two\n"
    assert pyunion(*names, "-l").stdout == "two\n"
    assert pyunion("ps", "-f", "nosuch=1").returncode == 125


def test_top_lists_the_processes_of_the_container_alone(pyunion: Pyunion) -> None:
    detach(pyunion, script="sleep 1234 & echo ready; wait")
    ready(pyunion)
    lines = pyunion("top", "one").stdout.splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "STIME", "TTY", "TIME", "CMD"]
    assert [line for line in lines if line.endswith(" sleep 1234")]
    assert len(lines) == 3


def test_events_tell_a_containers_story(pyunion: Pyunion) -> None:
    detach(pyunion, "--label", "a=b", script="exit 5")
    wait_for("its end", lambda: status(pyunion) == "exited 5")
    pyunion("rm", "one")
    text = pyunion("events", *_UNTIL_NOW, "--format", "{{.Action}} {{.Actor.Attributes.a}}").stdout
    assert text == "create b\nstart b\ndie b\ndestroy b\n"
    pyunion.run("--label", "a=c", "true")
    text = pyunion("events", *_UNTIL_NOW, "--filter", "label=a=c", "--format={{.Action}}").stdout
    assert text.split() == ["create", "start", "die", "destroy"]
    died = pyunion("events", *_UNTIL_NOW, "--filter", "event=die", "--filter", "label=a=b").stdout
    assert "exitCode=5" in died
    assert died.count("\n") == 1


def test_who_hears_of_its_end_may_start_it_again_or_remove_it(pyunion: Pyunion) -> None:
    detach(pyunion, script="true")
    argv = pyunion.argv("events", "--since", "1h", "--filter", "event=die", "--format", "{{.Actor.Attributes.name}}")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        try:
            for verb in ("start", "rm"):
                name = events.stdout.readline().strip()
                result = pyunion(verb, name)
                assert (result.returncode, result.stdout, result.stderr) == (0, "one\n", "")
        finally:
            events.kill()
