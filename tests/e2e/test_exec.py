"""`exec`: a further command, with the container's namespaces and no more rights than it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from runtime.container import control
from runtime.container.exec import Asked, begin
from runtime.container.namespaces import open_doors
from runtime.container.store import Store
from runtime.places import Places
from tests.e2e.conftest import Process, Pyunion, descendants, process
from tests.e2e.test_background import detach
from tests.support.waiting import wait_for


def test_output_and_status_are_those_of_the_command(pyunion: Pyunion) -> None:
    detach(pyunion)
    result = pyunion("exec", "one", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert pyunion("exec", "-i", "one", "cat", stdin="typed\n").stdout == "typed\n"
    assert pyunion("exec", "one", "cat", stdin="typed\n").stdout == ""


def test_it_runs_among_the_containers_processes_and_files(pyunion: Pyunion) -> None:
    detach(pyunion, script="echo mine >/file; sleep 1000")
    wait_for("its file", lambda: pyunion("exec", "one", "cat", "/file").stdout == "mine\n")
    seen = pyunion("exec", "one", "ps", "-o", "args").stdout
    assert "sleep 1000" in seen
    assert "pyunion: exec" not in seen
    first = pyunion("inspect", "-f", "{{.State.Pid}}", "one").stdout.strip()
    for kind in ("mnt", "pid", "ipc", "uts", "net", "cgroup"):
        assert pyunion("exec", "one", "readlink", f"/proc/self/ns/{kind}").stdout.strip() == os.readlink(
            f"/proc/{first}/ns/{kind}"
        )


def test_user_directory_and_environment(pyunion: Pyunion) -> None:
    detach(pyunion, "-e", "A=1", "-e", "B=1", "-w", "/home")
    script = "id -u; id -g; pwd; echo $A$B$HOME"
    assert pyunion("exec", "one", "sh", "-c", script).stdout.split() == ["0", "0", "/home", "11/root"]
    options = ("-u", "alice", "-w", "/tmp", "-e", "B=2")
    assert pyunion("exec", *options, "one", "sh", "-c", script).stdout.split() == [
        "1000", "1001", "/tmp", "12/home/alice",
    ]  # fmt: skip


@pytest.mark.parametrize("user", ["4294967295", "-1", "nobody-here", "1:nogroup"])
def test_a_user_that_is_not_there_is_refused(pyunion: Pyunion, user: str) -> None:
    detach(pyunion)
    result = pyunion("exec", f"--user={user}", "one", "id")
    assert (result.returncode, result.stdout) == (125, "")
    assert "unable to find" in result.stderr


def test_it_has_the_capabilities_of_the_container_and_no_more(pyunion: Pyunion) -> None:
    detach(pyunion, script="grep -e Cap -e NoNewPrivs -e Seccomp: /proc/self/status; echo ready; sleep 1000")
    wait_for("its status", lambda: "ready" in pyunion("logs", "one").stdout)
    own = pyunion("logs", "one").stdout.removesuffix("ready\n")
    asked = ("grep", "-e", "Cap", "-e", "NoNewPrivs", "-e", "Seccomp:", "/proc/self/status")
    assert pyunion("exec", "one", *asked).stdout == own
    privileged = pyunion("exec", "--privileged", "one", *asked).stdout
    assert privileged != own


def test_no_descriptor_of_ours_gets_in(pyunion: Pyunion) -> None:
    detach(pyunion)
    extra = [os.open("/", os.O_RDONLY) for _ in range(5)]
    try:
        argv = pyunion.argv("exec", "one", "sh", "-c", "ls /proc/self/fd")
        result = subprocess.run(argv, capture_output=True, text=True, pass_fds=extra, check=True, timeout=30)
    finally:
        for fd in extra:
            os.close(fd)
    assert result.stdout.split() == ["0", "1", "2", "3"], "the last one is that of ls"


@pytest.mark.parametrize("target", ["/proc/self/exe", "/proc/1/exe", "/proc/self/fd/3", "/proc/self/fd/7"])
def test_our_interpreter_cannot_be_run_or_entered(pyunion: Pyunion, target: str) -> None:
    detach(pyunion)
    result = pyunion("exec", "one", target)
    assert result.returncode in (126, 127)
    result = pyunion("exec", "-w", target, "one", "pwd")
    assert (result.returncode, result.stdout) == (125, "")


def test_nothing_of_the_image_is_imported_on_the_way(pyunion: Pyunion, layer: Path) -> None:
    """A Python library of the image, where ours would be looked for, must not be run by us."""
    for name in ("encodings", "codecs", "socket", "pwd", "runtime"):
        for folder in ("usr/lib/python3.11", "usr/lib/python3/dist-packages", "work/main"):
            place = layer / folder / name
            place.mkdir(parents=True)
            (place / "__init__.py").write_text("open('/tmp/imported', 'w')")
    rootfs = f"{layer}:{pyunion.rootfs}"
    assert pyunion("run", "-d", "--name", "one", "--rootfs", rootfs, "sleep", "1000").returncode == 0
    assert pyunion("exec", "-u", "alice", "one", "nosuch").returncode == 127
    assert pyunion("exec", "one", "ls", "/tmp").stdout == ""


def test_a_detached_command_goes_on_alone_and_ends_with_the_container(pyunion: Pyunion) -> None:
    detach(pyunion)
    result = pyunion("exec", "-d", "one", "sh", "-c", "echo here >/file; exec sleep 4321")
    assert (result.returncode, result.stdout) == (0, "")
    wait_for("its file", lambda: pyunion("exec", "one", "cat", "/file").stdout == "here\n")
    assert "sleep 4321" in pyunion("top", "one").stdout
    assert pyunion("exec", "-d", "one", "nosuch").returncode == 127


def test_killing_pyunion_exec_ends_its_command(pyunion: Pyunion) -> None:
    detach(pyunion)
    argv = pyunion.argv("exec", "-i", "one", "sh", "-c", "echo ready; exec sleep 2345")
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    family: list[Process] = descendants(running.pid)
    running.kill()
    running.communicate(timeout=30)
    wait_for("all gone", lambda: not any(one.alive() for one in family))
    assert process(running.pid) is None
    assert "sleep 2345" not in pyunion("top", "one").stdout


def test_a_signal_to_pyunion_exec_reaches_its_command(pyunion: Pyunion) -> None:
    detach(pyunion)
    argv = pyunion.argv("exec", "-i", "one", "sh", "-c", "trap 'exit 8' TERM; echo ready; while :; do sleep 0.1; done")
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 8
    running.communicate()


def test_what_does_not_run_is_refused(pyunion: Pyunion) -> None:
    pyunion("create", "--name", "one", "--rootfs", pyunion.rootfs, "true")
    result = pyunion("exec", "one", "true")
    assert (result.returncode, result.stderr) == (1, "pyunion exec: container one is not running\n")


def test_nothing_is_lost_of_a_command_that_ends_before_anybody_listens(pyunion: Pyunion) -> None:
    pyunion("run", "-d", "--name=one", "--network=none", "--rootfs", pyunion.rootfs, "sleep", "1000")
    container = Store(Places(str(pyunion.root), str(pyunion.runroot))).find("one")
    doors = open_doors(container, is_root=True)
    asked = Asked(["echo", "hi"], [], "", "", interactive=False, tty=False, privileged=False)
    connection, guard = begin(container, container.config(), asked, doors, None, control.OUTPUT)
    os.waitpid(guard, 0)
    heard = list(iter(lambda: control.hear(connection), b""))
    assert control.OUTPUT + b"hi\n" in heard
    for fd in (connection, *doors.descriptors()):
        os.close(fd)
