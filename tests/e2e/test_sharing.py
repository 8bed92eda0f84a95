"""Namespaces that a container has of its own, and those it shares with the machine or another container."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion, process
from tests.e2e.test_background import detach

_KINDS = ("mnt", "pid", "ipc", "uts", "net", "cgroup")


def namespaces(pyunion: Pyunion, *options: str) -> dict[str, str]:
    """Which the command is in."""
    script = "for kind in mnt pid ipc uts net cgroup; do readlink /proc/self/ns/$kind; done"
    return dict(zip(_KINDS, pyunion.sh(script, *options).split(), strict=True))


def ours() -> dict[str, str]:
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in _KINDS}


def test_all_are_its_own(pyunion: Pyunion) -> None:
    found = namespaces(pyunion, "--network=none")
    assert [kind for kind in _KINDS if found[kind] == ours()[kind]] == []


@pytest.mark.parametrize(
    ("option", "kind"),
    [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net"), ("--cgroupns", "cgroup")],
)
def test_one_is_the_machines(pyunion: Pyunion, option: str, kind: str) -> None:
    own_network = () if kind == "net" else ("--network=none",)
    found = namespaces(pyunion, *own_network, f"{option}=host")
    assert [name for name in _KINDS if found[name] == ours()[name]] == [kind]


@pytest.mark.parametrize(
    ("option", "kind"), [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net")]
)
def test_one_is_another_containers(pyunion: Pyunion, option: str, kind: str) -> None:
    detach(pyunion, "--network=none")
    other = pyunion("exec", "one", "readlink", f"/proc/self/ns/{kind}").stdout.strip()
    assert namespaces(pyunion, f"{option}=container:one")[kind] == other


def test_who_shares_ipc_shares_memory_files(pyunion: Pyunion) -> None:
    detach(pyunion, script="echo shared >/dev/shm/file; sleep 1000")
    script = "until cat /dev/shm/file 2>/dev/null; do :; done"
    assert pyunion.sh(script, "--ipc=container:one") == "shared\n"
    assert pyunion.sh("ls /dev/shm") == ""


def test_a_container_that_does_not_run_has_none_to_share(pyunion: Pyunion) -> None:
    pyunion("create", "--name", "one", "--rootfs", pyunion.rootfs, "true")
    result = pyunion.run("--pid=container:one", "true")
    assert (result.returncode, result.stderr) == (125, "pyunion run: container one is not running\n")
    assert "no such container" in pyunion.run("--ipc=container:two", "true").stderr
    assert pyunion.run("--pid=moon", "true").returncode == 125


def test_a_command_in_a_shared_pid_namespace_ends_alone(pyunion: Pyunion) -> None:
    detach(pyunion)
    assert pyunion.run("--pid=container:one", "true").returncode == 0
    assert pyunion("exec", "one", "true").returncode == 0


@pytest.mark.parametrize("options", [(), ("--cgroups=disabled",)])
@pytest.mark.parametrize("pids", ["host", "container:one"])
def test_nothing_runs_on_in_pids_that_are_shared(pyunion: Pyunion, pids: str, options: tuple[str, ...]) -> None:
    detach(pyunion)
    script = "sleep 12345 & setsid sleep 12345 & echo"
    pyunion("run", "--name", "two", "--pid", pids, *options, "--rootfs", pyunion.rootfs, "sh", "-c", script)
    assert pyunion("inspect", "-f", "{{.State.Status}}", "two").stdout == "exited\n"
    everybody = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    assert [one for one in everybody if one and one.title == "sleep 12345"] == []


def test_privileged_undoes_what_protects(pyunion: Pyunion) -> None:
    script = "cat /proc/self/status | grep CapBnd; ls /dev | wc -l; (echo 8192 >/proc/sys/kernel/msgmax) 2>&1"
    usual, privileged = pyunion.sh(script + "; true"), pyunion.sh(script + "; true", "--privileged")
    assert int(usual.split()[1], 16) < int(privileged.split()[1], 16)
    assert int(usual.split()[2]) < int(privileged.split()[2])
    assert "Read-only" in usual
    assert "Read-only" not in privileged


def test_sysctls_are_set_in_its_namespaces_alone(pyunion: Pyunion) -> None:
    before = Path("/proc/sys/kernel/msgmax").read_text()
    options = ("--network=none", "--sysctl", "kernel.msgmax=12345", "--sysctl", "net.ipv4.ip_forward=1")
    assert pyunion.sh("cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward", *options) == "12345\n1\n"
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


@pytest.mark.parametrize(
    "setting", ["kernel.core_pattern=|/x", "vm.overcommit_memory=1", "kernel.msgmax", "net/../kernel/core_pattern=x"]
)
def test_sysctls_of_the_whole_machine_are_refused(pyunion: Pyunion, setting: str) -> None:
    result = pyunion.run("--sysctl", setting, "true")
    assert (result.returncode, result.stdout) == (125, "")
    assert setting.partition("=")[0].replace("/", ".") in result.stderr


def test_limits_and_groups_and_names_reach_the_command(pyunion: Pyunion) -> None:
    options = ("--ulimit", "nofile=100:200", "--group-add", "staff", "--domainname", "dom", "--shm-size", "1m")
    script = "ulimit -Sn; ulimit -Hn; id -G; cat /proc/sys/kernel/domainname; df -k /dev/shm | awk '/shm/ {print $2}'"
    soft, hard, *groups, domain, size = pyunion.sh(script, *options).split()
    assert (soft, hard, sorted(groups), domain, size) == ("100", "200", ["0", "50", "63"], "dom", "1024")
    for option in ("--ulimit=nosuch=1", "--ulimit=nofile=2:1", "--shm-size=x", "--group-add=nosuch"):
        assert pyunion.run(option, "true").returncode == 125


def test_a_read_only_root_has_writable_volumes(pyunion: Pyunion, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    options = ("--read-only", "-v", f"{tmp_path}/data:/data", "--tmpfs", "/tmp")
    script = "echo x >/x || echo refused; echo x >/data/x; echo x >/tmp/x; echo x >/dev/shm/x; ls /data"
    assert pyunion("run", "--rm", *options, "--rootfs", pyunion.rootfs, "sh", "-c", script).stdout == "refused\nx\n"


def test_env_files_and_label_files(pyunion: Pyunion, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nA=1\n\nB=two words\nHOME_OF_CALLER\n")
    (tmp_path / "labels").write_text("kind=web\n")
    assert pyunion.sh("echo $A $B", "--env-file", tmp_path / "env", "-e", "A=2") == "2 two words\n"
    detach(pyunion, "--label-file", tmp_path / "labels")
    assert pyunion("inspect", "-f", "{{.Config.Labels.kind}}", "one").stdout == "web\n"


@pytest.mark.parametrize(("mode", "arrives"), [("rprivate", False), ("rslave", True)])
def test_mounts_made_outside_arrive_where_that_is_asked_for(
    pyunion: Pyunion, tmp_path: Path, mode: str, arrives: bool
) -> None:
    (tmp_path / "data/below").mkdir(parents=True)
    run = " ".join(pyunion.argv("run", "-d", "--name=one", "--network=none", "-v", f"{tmp_path}/data:/data:{mode}"))
    script = f"""set -e; cd {tmp_path}; mount --bind data data; mount --make-shared data
        {run} --rootfs {pyunion.rootfs} sleep 1000 >/dev/null
        mount -t tmpfs tmpfs data/below; touch data/below/arrived
        {" ".join(pyunion.argv("exec", "one", "ls", "/data/below"))}"""
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == ("arrived\n" if arrives else "")
    assert pyunion.run("-v", f"{pyunion.rootfs}:/data:moved", "true").returncode == 125


def test_named_volumes_outlive_containers(pyunion: Pyunion) -> None:
    pyunion.sh("echo kept >/data/file", "-v", "store:/data")
    assert pyunion.sh("cat /data/file", "-v", "store:/data:ro") == "kept\n"
    assert pyunion("volume", "ls", "-q").stdout == "store\n"
    detach(pyunion, "-v", "store:/data", "--mount", "type=volume,source=second,target=/second")
    assert "in use" in pyunion("volume", "rm", "store").stderr
    pyunion("rm", "-f", "one")
    assert pyunion("volume", "rm", "store", "second").returncode == 0
    assert pyunion("volume", "inspect", "store").returncode == 1


def test_nameless_volumes_go_with_their_container(pyunion: Pyunion) -> None:
    pyunion.sh("touch /data/x", "-v", "/data")
    assert pyunion("volume", "ls", "-q").stdout == ""
    detach(pyunion, "-v", "/data")
    pyunion("rm", "-f", "one")
    assert len(pyunion("volume", "ls", "-q").stdout.split()) == 1
    pyunion("volume", "prune", "-f")
    assert pyunion("volume", "ls", "-q").stdout == ""
