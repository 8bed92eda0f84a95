"""What people and scripts that know Docker do every day, beyond what other pages of this folder are about."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion
from tests.support import needs
from tests.support.waiting import wait_for

HOSTILE = "a\x1b[31mb\u009b31mc\nd"


def on_a_terminal(argv: list[str]) -> str:
    """What a command writes there."""
    ours, theirs = pty.openpty()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=theirs, check=True, timeout=30)
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        return file.read1().decode().replace("\r\n", "\n")


@pytest.fixture
def box(pyunion: Pyunion) -> Pyunion:
    """With a container `box` that runs, with two volumes and a label that a terminal would act on."""
    volumes = ("-v", "named:/named", "-v", "/nameless")
    pyunion("run", "-d", "--name=box", *volumes, f"--label=x={HOSTILE}", "--rootfs", pyunion.rootfs, "sleep", "1000")
    return pyunion


def test_a_volume_may_be_named_from_where_one_is(
    pyunion: Pyunion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("hello\n")
    monkeypatch.chdir(tmp_path)
    assert pyunion.output("-v", ".:/here", "cat", "/here/file") == "hello\n"
    assert pyunion.output("-v", "./file:/file:ro", "cat", "/file") == "hello\n"
    assert pyunion.output("--mount", f"type=bind,src=../{tmp_path.name},dst=/here", "cat", "/here/file") == "hello\n"


def test_the_volumes_of_another_container_may_be_had_too(box: Pyunion) -> None:
    script = "echo new > /named/file; echo new > /nameless/file"
    assert box.sh(script, "--volumes-from=box") == ""
    assert box("exec", "box", "cat", "/named/file", "/nameless/file").stdout == "new\nnew\n"
    result = box.run("--volumes-from=box:ro", "touch", "/named/more")
    assert (result.returncode, result.stderr) == (1, "touch: /named/more: Read-only file system\n")
    assert box.sh("ls /named", "--volumes-from=box", "-v", "other:/named") == ""  # what is said here goes first
    assert box.run("--volumes-from=none", "true").stderr == "pyunion run: no such container: none\n"


def test_a_volume_without_a_name_stays_as_long_as_any_container_has_it(box: Pyunion) -> None:
    box("create", "--name=second", "--volumes-from=box", "--rootfs", box.rootfs, "true")
    box("rm", "-f", "-v", "box")
    assert len(box("volume", "ls", "-q").stdout.splitlines()) == 2
    box("rm", "second")
    assert len(box("volume", "ls", "-q", "-f", "dangling=true").stdout.splitlines()) == 2


def test_volumes_are_found_by_what_they_are(box: Pyunion) -> None:
    box("volume", "create", "-d", "local", "--label", "kind=cache", "free")
    found = {text: box("volume", "ls", "-q", "-f", text).stdout.split() for text in ("dangling=true", "label=kind")}
    assert found == {"dangling=true": ["free"], "label=kind": ["free"]}
    assert box("volume", "ls", "-q", "-f", "name=name", "-f", "dangling=false").stdout.split() == ["named"]
    assert "unknown --driver 'nfs'" in box("volume", "create", "-d", "nfs", "x").stderr


def test_the_restart_policy_can_be_changed(pyunion: Pyunion) -> None:
    """It counts when the command ends next, here when its pipe is read."""
    command = ("sh", "-c", "mkfifo /pipe; read line < /pipe; rm /pipe")
    pyunion("run", "-d", "--name=box", "--rootfs", pyunion.rootfs, *command)
    end = ("exec", "box", "sh", "-c", "until [ -p /pipe ]; do sleep 0.1; done; echo > /pipe")
    assert pyunion("update", "--restart=always", "box").stdout == "box\n"
    assert pyunion(*end).returncode in (0, 137)  # it may be ended by the end that it brings about
    state = ("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "box")
    wait_for("it runs again", lambda: pyunion(*state).stdout == "1 running\n")
    pyunion("update", "--restart=no", "box")
    assert pyunion(*end).returncode in (0, 137)
    assert pyunion("wait", "box").stdout == "0\n"
    assert pyunion(*state).stdout == "1 exited\n"
    assert "invalid restart policy 'often'" in pyunion("update", "--restart=often", "box").stderr


def test_containers_are_found_by_name_age_and_ports(box: Pyunion) -> None:
    ports = ("-p", "127.0.0.1::80", "-p", "127.0.0.1::53/udp")
    box("run", "-d", "--name=web", *ports, "--rootfs", box.rootfs, "sleep", "1000")
    port = box("port", "web", "80").stdout.strip().rpartition(":")[2]

    def names(*filters: str) -> list[str]:
        return box("ps", "--format={{.Names}}", *(f"--filter={text}" for text in filters)).stdout.split()

    assert (names("before=web"), names("since=box")) == (["box"], ["web"])
    assert (names("since=web"), names("before=box")) == ([], [])
    assert [names(f"name={text}") for text in ("^/box$", "^box$", "^bo$", "b.x|web", "w[")] == [
        ["box"], ["box"], [], ["web", "box"], []
    ]  # fmt: skip
    assert (names(f"publish={port}"), names(f"publish={port}/udp"), names("publish=80")) == (["web"], [], [])


def test_a_further_command_gets_its_environment_from_a_file_too(box: Pyunion, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# colours\nA=red\nB=two words\n")
    result = box("exec", "--env-file", tmp_path / "env", "-e", "A=blue", "box", "sh", "-c", 'echo "$A, $B"')
    assert (result.stdout, result.stderr) == ("blue, two words\n", "")


def test_what_was_asked_for_is_found_under_dockers_names(pyunion: Pyunion) -> None:
    options = ("-m=64m", "--cpus=0.5", "--cgroups=best-effort", "-p=8000:80", "-p=53/udp", "--cap-drop=KILL")
    pyunion("create", "--name=box", *options, "--rootfs", pyunion.rootfs, "true")
    host = json.loads(pyunion("inspect", "-f", "{{json .HostConfig}}", "box").stdout)
    assert (host["Memory"], host["NanoCpus"], host["CapDrop"], host["CapAdd"]) == (1 << 26, 500_000_000, ["KILL"], [])
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8000"}], "53/udp": [{"HostIp": "", "HostPort": ""}]
    }  # fmt: skip


@pytest.mark.parametrize(("options", "head"), [(["-o", "pid,args"], "PID COMMAND"), (["aux"], "USER PID %CPU")])
def test_processes_are_listed_as_ps_has_them(box: Pyunion, options: list[str], head: str) -> None:
    needs.commands("ps")
    lines = [" ".join(line.split()) for line in box("top", "box", *options).stdout.splitlines()]
    assert len(lines) == 2
    assert lines[0].startswith(head)
    assert lines[1].endswith("sleep 1000")


def test_what_was_written_can_be_asked_for(box: Pyunion) -> None:
    box("exec", "box", "sh", "-c", "head -c 1000000 /dev/zero > /file")
    own, whole = map(int, box("inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "box").stdout.split())
    assert 1_000_000 <= own < 1_100_000 < whole


def test_what_is_not_there_is_not_said_to_be_removed(box: Pyunion) -> None:
    box("network", "create", "net")
    box("volume", "create", "free")
    for kind, name in (((), "box"), (("network",), "net"), (("volume",), "free")):
        assert box(*kind, "rm", "absent").returncode == 1
        result = box(*kind, "rm", "-f", name, "absent")
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{name}\n", "")


@pytest.mark.parametrize("network", ["bridge", "none"])
def test_everybody_may_ping_and_listen_at_any_port_of_a_network_of_ones_own(pyunion: Pyunion, network: str) -> None:
    settings = "cd /proc/sys/net/ipv4; cat ping_group_range ip_unprivileged_port_start"
    assert pyunion.sh(settings, f"--network={network}").split() == ["0", "2147483647", "0"]
    for _ in range(5):  # nothing that comes later may take back what is asked for
        said = pyunion.sh(settings, f"--network={network}", "--sysctl=net.ipv4.ip_unprivileged_port_start=99")
        assert said.split() == ["0", "2147483647", "99"]


def test_settings_of_the_machines_network_stay(pyunion: Pyunion) -> None:
    path = Path("/proc/sys/net/ipv4/ping_group_range")
    assert pyunion.sh(f"cat {path}", "--network=host").split() == path.read_text().split()


def test_no_label_acts_on_a_terminal(box: Pyunion) -> None:
    ask = box.argv("inspect", "-f", '{{index .Config.Labels "x"}}', "box")
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == f"{HOSTILE}\n"
    assert on_a_terminal(ask) == "a\\x1b[31mb\\x9b31mc\nd\n"
    escaped = '"a\\u001b[31mb\\u009b31mc\\nd"'
    assert on_a_terminal(box.argv("inspect", "-f", "{{json .Config.Labels.x}}", "box")) == f"{escaped}\n"
    assert f'"x": {escaped}' in box("inspect", "box").stdout
    assert "x=a\\x1b[31mb\\x9b31mc\\nd" in box("events", "--since=1h", "--until=0s").stdout
