"""The runtime's own program, descriptors and state are out of a container's reach."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.conftest import PYTHON, RACES, Pyunion
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = needs.root

_MODULES = ("encodings/__init__", "encodings/idna", "pwd", "locale", "traceback", "linecache", "usercustomize")
_SEARCH = """while :; do
  for p in /proc/[0-9]*; do
    e=$(readlink $p/exe) && case $e in *python*) echo found $p $e;; esac
  done 2>/dev/null
  for f in /proc/1/exe /proc/1/cwd /proc/1/root /proc/1/fd/0; do readlink $f && echo read $f; done 2>/dev/null
  for f in maps mem environ auxv stack; do head -c 1 /proc/1/$f && echo read $f; done 2>/dev/null
done"""


def test_the_interpreter_cannot_be_started_as_the_containers_own_program(pyunion: Pyunion, layer: Path) -> None:
    """CVE-2019-5736: whoever runs /proc/self/exe of the runtime can write to its file later."""
    before = hashlib.sha256(Path(PYTHON).read_bytes()).hexdigest()
    (layer / "entry").write_text("#!/proc/self/exe -c import os\n")
    (layer / "entry").chmod(0o755)
    (layer / "link").symlink_to("/proc/self/exe")
    (layer / "thread").symlink_to("/proc/thread-self/exe")
    for command in ("/proc/self/exe", "/entry", "/link", "/thread", "/proc/1/exe"):
        result = pyunion.run_on(layer, command, "-c", "print('the host interpreter runs')")
        assert (result.returncode, result.stdout) in ((126, ""), (127, "")), command
        assert "the host interpreter runs" not in result.stderr
    for command in ("/proc/self/exe", "/proc/thread-self/exe"):  # where the libraries it needs are, too
        result = pyunion("run", "--rm", "--host", command, "-c", "print('the host interpreter runs')")
        assert (result.returncode, result.stdout) == (126, ""), command
    assert hashlib.sha256(Path(PYTHON).read_bytes()).hexdigest() == before


_SWAPS = {
    "link": "while :; do ln -s /bin/true t; mv t x; ln -s /proc/self/exe t; mv t x; done",
    "script": "while :; do echo '#!/bin/true' >x; echo '#!/proc/self/exe' >x; done",
    "interpreter": "echo '#!/w/i' >x; while :; do ln -s /bin/true t; mv t i; ln -s /proc/self/exe t; mv t i; done",
    "directory": "rm x; mkdir a; cp /bin/true a/exe;"
    " while :; do ln -s a t; mv -T t x; ln -s /proc/self t; mv -T t x; done",
}


@pytest.mark.race
@pytest.mark.parametrize("what", _SWAPS)
def test_a_program_that_changes_into_a_magic_link_is_never_the_interpreter(pyunion: Pyunion, what: str) -> None:
    """CVE-2019-5736 as a race: what was looked at is swapped before it is executed."""
    swap = f"mkdir /w; cd /w; echo '#!/bin/true' >x; chmod 755 x; {_SWAPS[what]}"
    name = pyunion("run", "-d", "--host", "sh", "-c", swap).stdout.strip()
    path = "/w/x/exe" if what == "directory" else "/w/x"
    wait_for("it swaps", lambda: pyunion("exec", name, "test", "-e", path).returncode == 0)
    seen = set()
    for _ in range(RACES):
        result = pyunion("exec", name, path, "-c", "print('the host interpreter runs')")
        assert "the host interpreter runs" not in result.stdout
        seen.add(result.returncode)
    assert seen <= {0, 126, 127}
    pyunion("rm", "-f", name)


def test_a_null_device_that_was_replaced_gives_a_command_nothing(pyunion: Pyunion) -> None:
    """Opened with all our rights, /proc/1/mem would be the command's standard input: a way to write to our memory."""
    for target in ("/proc/1/mem", "/proc/1/exe", "/proc/1/environ", "/etc/passwd"):
        replace = f"rm /dev/null; ln -s {target} /dev/null; echo ready; sleep 1000"
        popen = pyunion.start("--name", "replaced", "sh", "-c", replace)
        assert popen.stdout is not None
        assert popen.stdout.readline() == "ready\n"
        result = pyunion("exec", "replaced", "readlink", "/proc/self/fd/0")
        assert (result.returncode, result.stdout) == (125, "")
        assert "/dev/null" in result.stderr
        assert pyunion("exec", "-i", "replaced", "echo", "in").stdout == "in\n"
        pyunion("rm", "-f", "replaced")
        popen.communicate(timeout=30)


@pytest.mark.race
def test_processes_on_their_way_into_a_container_cannot_be_looked_into(pyunion: Pyunion) -> None:
    """While commands are started in it, a container tries to read their exe, and what its pid 1 has."""
    name = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "sh", "-c", _SEARCH).stdout.strip()
    for _ in range(RACES):
        assert pyunion("exec", name, "true").returncode == 0
    assert pyunion("logs", name).stdout == ""
    pyunion("rm", "-f", name)


def test_in_a_user_namespace_the_right_to_trace_does_not_reach_the_runtime(pyunion: Pyunion) -> None:
    """Without one it does: docs/security.md, "What gives the machine away"."""
    mapped = ("--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536", "--cap-add", "sys_ptrace")
    search = _SEARCH.replace("while", "chmod 4755 /proc/1/exe && echo changed; while", 1)
    options = ("--security-opt", "seccomp=unconfined", *mapped, "--rootfs", pyunion.rootfs)
    name = pyunion("run", "-d", *options, "sh", "-c", search).stdout.strip()
    for _ in range(RACES):
        assert pyunion("exec", name, "true").returncode == 0
    assert pyunion("logs", name).stdout == ""
    assert "chmod: /proc/1/exe: Permission denied" in pyunion("logs", name).stderr
    pyunion("rm", "-f", name)


def test_neither_a_working_directory_nor_a_link_leads_to_a_descriptor_of_the_host(
    pyunion: Pyunion, layer: Path
) -> None:
    """CVE-2024-21626: a descriptor of the host that is open while the working directory is set."""
    for number in range(3, 11):
        (layer / f"work{number}").symlink_to(f"/proc/self/fd/{number}")
        for place in (f"/proc/self/fd/{number}", f"/work{number}"):
            result = pyunion.run_on(layer, "-w", place, "sh", "-c", "pwd; cat ../../../../etc/shadow")
            assert (result.returncode, result.stdout) == (125, ""), place


def test_nor_does_one_given_to_exec(pyunion: Pyunion) -> None:
    name = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "sleep", "1000").stdout.strip()
    for number in range(3, 16, 3):
        result = pyunion("exec", "-w", f"/proc/self/fd/{number}", name, "sh", "-c", "cat ../../../etc/shadow; echo in")
        assert "in" not in result.stdout.split()
        assert result.returncode != 0
    pyunion("rm", "-f", name)


def test_no_descriptor_of_the_caller_is_inherited(pyunion: Pyunion, tmp_path: Path) -> None:
    """Started with twenty more files open, by `run` and by `exec`."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    extra = [os.open(secret, os.O_RDWR) for _ in range(20)]
    for fd in extra:
        os.set_inheritable(fd, True)
    look = "ls -l /proc/self/fd; for p in /proc/1/fd /proc/$$/fd; do ls -l $p; done"
    try:
        argv = pyunion.argv("run", "--rm", "--rootfs", pyunion.rootfs, "sh", "-c", look)
        result = subprocess.run(argv, pass_fds=extra, capture_output=True, text=True, check=False)
        name = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "sleep", "1000").stdout.strip()
        argv = pyunion.argv("exec", name, "sh", "-c", look)
        inside = subprocess.run(argv, pass_fds=extra, capture_output=True, text=True, check=False)
    finally:
        for fd in extra:
            os.close(fd)
    pyunion("rm", "-f", name)
    for output in (result.stdout, inside.stdout):
        assert "pipe:" in output
        assert "secret" not in output
        numbers = {int(line.split()[-3]) for line in output.splitlines() if "->" in line}
        assert numbers <= {0, 1, 2, 3}  # 3 is that of ls, of the directory it reads


def test_python_of_the_image_is_never_run_by_the_runtime(pyunion: Pyunion, layer: Path, tmp_path: Path) -> None:
    """An image brings modules, start-up hooks and shared libraries along where the interpreter would look."""
    canary = "import os\nos.write(2, b'CANARY\\n')\nopen('/canary', 'w')\n"
    places = ["usr/lib/python3", "usr/lib/python3/dist-packages", "usr/local/lib/python3"]
    places += [f"usr/lib/python3.{minor}" for minor in range(11, 15)]
    for place in (*places, PYTHON.removeprefix("/").rpartition("/")[0], "root", "tmp", ""):
        for module in _MODULES:
            path = layer / place / f"{module}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(canary)
    (layer / "etc").mkdir()
    (layer / "etc/ld.so.preload").write_text("/canary.so\n")
    (layer / "etc/nsswitch.conf").write_text("passwd: canary\nhosts: canary\n")
    look = "test ! -e /canary && echo clean"
    for options in (("-u", "alice"), ("-e", "PYTHONPATH=/tmp"), ("-w", "/new/directory"), ("-u", "nobody-here")):
        result = pyunion.run_on(layer, *options, "sh", "-c", look)
        assert "CANARY" not in result.stderr
        assert result.stdout in ("clean\n", "")
    assert "CANARY" not in pyunion.run_on(layer, "/absent").stderr


def test_no_socket_of_ours_can_be_reached_by_way_of_the_machines_network(pyunion: Pyunion) -> None:
    """CVE-2020-15257: names of sockets that aren't files belong to a network namespace."""
    argv = pyunion.argv("run", "--rm", "--rootfs", pyunion.rootfs, "cat", "/proc/net/unix")
    argv[argv.index("--network=none")] = "--network=host"
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line for line in lines if str(pyunion.root.parent) in line or "pyunion" in line]
    assert [line for line in ours if line.split()[-1].startswith("@")] == []


def test_nobody_else_can_read_the_state_of_containers(pyunion: Pyunion) -> None:
    pyunion.output("true")
    for directory in (pyunion.root, pyunion.runroot):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_number_that_became_a_strangers_gets_no_signal(pyunion: Pyunion) -> None:
    """The record of a killed container names a process that is another's by now."""
    popen = pyunion.start("--name", "old", "sleep", "1000")
    wait_for("it runs", lambda: "old" in pyunion("ps").stdout)
    (container,) = (pyunion.root / "containers").iterdir()
    record = container / "state.json"
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        state = json.loads(record.read_text())
        record.write_text(json.dumps({**state, "pid": stranger.pid}))
        for verb in (("kill", "old"), ("exec", "old", "true"), ("pause", "old")):
            pyunion(*verb)
            assert stranger.poll() is None
        record.write_text(json.dumps(state))
        pyunion("rm", "-f", "old")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        popen.communicate(timeout=30)


def test_one_name_is_one_containers_however_many_ask_for_it(pyunion: Pyunion) -> None:
    outcomes: list[int] = []

    def again() -> None:
        for _ in range(4):
            outcomes.append(pyunion("run", "--rm", "--name", "same", "--rootfs", pyunion.rootfs, "true").returncode)

    threads = [threading.Thread(target=again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes) <= {0, 125}
    assert 0 in outcomes
    assert pyunion.leftovers() == []


@pytest.mark.parametrize("where", ["root", "runroot"])
def test_planted_links_in_the_state_are_not_followed(pyunion: Pyunion, tmp_path: Path, where: str) -> None:
    """A link where a container's directory should be is none of ours: nothing behind it is removed."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    pyunion.output("true")
    place = pyunion.root / "containers" if where == "root" else pyunion.runroot
    (place / ("f" * 64)).symlink_to(precious)
    pyunion("ps", "-a")
    pyunion("rm", "-f", "f" * 64)
    assert (precious / "file").read_text() == "kept"
    (place / ("f" * 64)).unlink(missing_ok=True)


def test_the_environment_of_the_caller_stays_outside(
    pyunion: Pyunion, monkeypatch: pytest.MonkeyPatch, inside: Callable[..., str]
) -> None:
    """CVE-2021-3602."""
    monkeypatch.setenv("PYUNION_TEST_SECRET", "hunter2")
    assert "hunter2" not in pyunion.sh("env; cat /proc/*/environ 2>/dev/null; true")
    assert "hunter2" not in inside("import os; print(os.environ, open('/proc/self/environ').read())")
    name = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "sleep", "1000").stdout.strip()
    assert "hunter2" not in pyunion("exec", name, "sh", "-c", "env; cat /proc/*/environ").stdout
    pyunion("rm", "-f", name)
