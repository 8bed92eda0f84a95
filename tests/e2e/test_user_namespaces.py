"""Containers of root's in a user namespace of their own: who their users are, and to whom their files belong."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion
from tests.support.waiting import wait_for

FIRST = (1 << 30) + (os.getpid() % 1000 << 16)  # several may test at once
MAP = f"--uidmap=0:{FIRST}:65536"


def pid_of(pyunion: Pyunion, name: str) -> int:
    return int(pyunion("inspect", "-f", "{{.State.Pid}}", name).stdout)


def with_ranges(pyunion: Pyunion, tmp_path: Path, ranges: str, *arguments: str | Path) -> str:
    """What the command writes where /etc/subuid and /etc/subgid say `ranges`."""
    (tmp_path / "ranges").write_text(ranges)
    script = f"""for name in subuid subgid; do
        touch /etc/$name; mount --bind {tmp_path}/ranges /etc/$name; done; exec "$@" """
    argv = ["unshare", "-m", "--propagation=private", "sh", "-ec", script, "-", *pyunion.argv(*arguments)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return result.stdout + result.stderr


def test_root_and_users_are_others_on_the_machine(pyunion: Pyunion) -> None:
    shown = pyunion.output(MAP, "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    assert shown.split() == ["0", str(FIRST), "65536"] * 2
    pyunion("run", "-d", "--name=box", MAP, "--rootfs", pyunion.rootfs, "-u", "alice", "sleep", "100")
    pid = int(Path(f"/proc/{pid_of(pyunion, 'box')}/task/{pid_of(pyunion, 'box')}/children").read_text())
    assert (os.stat(f"/proc/{pid}").st_uid, os.stat(f"/proc/{pid}").st_gid) == (FIRST + 1000, FIRST + 1001)
    assert pyunion("exec", "box", "id", "-un").stdout == "alice\n"
    assert pyunion("exec", "-u", "0", "box", "id", "-u").stdout == "0\n"


def test_files_belong_inside_and_in_the_upper_to_the_ids_seen_inside(pyunion: Pyunion) -> None:
    script = """stat -c %u:%g /bin /home/alice
        touch /mine; touch /tmp/theirs; chown 1000:1001 /tmp/theirs; stat -c %u:%g /mine"""
    result = pyunion("run", "--name=box", MAP, "--rootfs", pyunion.rootfs, "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("0:0\n1000:1001\n0:0\n", "")
    (upper,) = (pyunion.root / "containers").glob("*/diff")
    owners = {name: ((upper / name).stat().st_uid, (upper / name).stat().st_gid) for name in ("mine", "tmp/theirs")}
    assert owners == {"mine": (0, 0), "tmp/theirs": (1000, 1001)}


def test_a_container_is_started_again_with_the_same_ids(pyunion: Pyunion) -> None:
    script = "cat /proc/self/uid_map; stat -c %u /it; touch /it"
    pyunion("run", "--name=box", MAP, "--rootfs", pyunion.rootfs, "sh", "-c", script)
    assert pyunion("start", "-a", "box").stdout.split() == ["0", str(FIRST), "65536", "0"]
    assert pyunion("diff", "box").stdout == "A /it\n"


def test_an_image_made_of_one_runs_without_a_namespace(pyunion: Pyunion) -> None:
    archive = pyunion.rootfs.parent / f"{FIRST}.tar"
    subprocess.run(["tar", "-cf", archive, "-C", pyunion.rootfs, "."], check=True)
    pyunion("import", archive, "base")
    ended = pyunion("run", "--name=box", MAP, "base", "sh", "-c", "echo x >/f; chown 1000:1001 /f")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert pyunion("commit", "box", "made").stderr == ""
    assert pyunion("run", "--rm", "made", "stat", "-c", "%u:%g", "/f").stdout == "1000:1001\n"
    assert pyunion("run", "--rm", MAP, "made", "stat", "-c", "%u:%g", "/f").stdout == "1000:1001\n"


def test_files_are_copied_in_and_out_while_it_runs(pyunion: Pyunion, tmp_path: Path) -> None:
    pyunion("run", "-d", "--name=box", MAP, "--rootfs", pyunion.rootfs, "sleep", "100")
    pyunion("exec", "box", "sh", "-c", "mkdir /d; echo x >/d/f; chown -R 1000:1001 /d")
    assert pyunion("cp", "-a", "box:/d", tmp_path / "d").stderr == ""
    assert ((tmp_path / "d/f").read_text(), (tmp_path / "d/f").stat().st_uid) == ("x\n", 1000)
    assert pyunion("cp", tmp_path / "d/f", "box:/root/g").stderr == ""
    assert pyunion("exec", "box", "stat", "-c", "%u %s", "/root/g").stdout == "0 2\n"
    assert pyunion("cp", "box:/none", tmp_path).stderr == "pyunion cp: none: No such file or directory\n"


def test_volumes_with_a_name_have_the_ids_seen_inside_and_others_if_asked(pyunion: Pyunion, tmp_path: Path) -> None:
    bound = tmp_path / "bound"
    bound.mkdir()
    volumes = ("-v", "data:/data", "-v", f"{bound}:/plain:ro", "-v", f"{bound}:/mapped:idmap")
    script = "touch /data/f /mapped/f; stat -c '%n %u' /data/f /mapped/f /plain/f"
    assert pyunion.sh(script, MAP, *volumes) == "/data/f 0\n/mapped/f 0\n/plain/f 65534\n"
    assert (bound / "f").stat().st_uid == 0


def test_networks_terminals_and_settings_of_its_own_namespaces_work(pyunion: Pyunion) -> None:
    script = "cat /proc/sys/net/ipv4/ip_forward; stat -c %u:%g $(tty)"
    options = (MAP, "-t", "--sysctl", "net.ipv4.ip_forward=1")
    assert pyunion.sh(script, *options).splitlines() == ["1", "0:5"]
    script = "ip -o -4 addr show eth0 | wc -l; hostname other; hostname"
    assert pyunion.sh(script, MAP, "--cap-add=SYS_ADMIN") == "1\nother\n"


def test_devices_are_the_machines_own(pyunion: Pyunion) -> None:
    script = "head -c3 /dev/zero | wc -c; echo >/dev/null; mknod /tmp/null c 1 3 2>/dev/null || ls /dev/fuse"
    assert pyunion.sh(script, MAP, "--cap-add=MKNOD", "--device=/dev/fuse") == "3\n/dev/fuse\n"


def test_all_else_of_the_machine_that_is_shared_is_shown(pyunion: Pyunion) -> None:
    assert int(pyunion.sh("ls -d /proc/[0-9]* | wc -l", MAP, "--pid=host")) > 2
    assert "lo" in pyunion.output(MAP, "--network=host", "ls", "/sys/class/net").split()


def test_another_containers_namespace_is_joined(pyunion: Pyunion) -> None:
    pyunion("run", "-d", "--name=one", MAP, "--rootfs", pyunion.rootfs, "sleep", "100")
    shared = [f"--{kind}=container:one" for kind in ("userns", "pid", "ipc", "network")]
    assert pyunion("run", "-d", "--name=two", *shared, "--rootfs", pyunion.rootfs, "sleep", "100").stderr == ""
    namespaces = {pyunion("exec", name, "readlink", "/proc/self/ns/user").stdout for name in ("one", "two")}
    assert len(namespaces) == 1
    pyunion("exec", "two", "touch", "/dev/shm/it")
    assert pyunion("exec", "one", "stat", "-c", "%u", "/dev/shm/it").stdout == "0\n"
    pyunion("kill", "one")
    pyunion("wait", "one")
    refused = pyunion.run("--network=none", "--userns=container:one", "true")
    assert refused.stderr == "pyunion run: container one is not running\n"


def test_each_gets_a_range_that_no_other_has_until_it_is_removed(pyunion: Pyunion, tmp_path: Path) -> None:
    ranges = f"root:5000:65536\ncontainers:{FIRST}:{2 << 16}\n"
    arguments = ("--userns=private", "--network=none", "--rootfs", pyunion.rootfs, "cat", "/proc/self/uid_map")

    def starts(name: str) -> str:
        return with_ranges(pyunion, tmp_path, ranges, "run", f"--name={name}", *arguments)

    assert [starts("one").split(), starts("two").split()] == [
        ["0", str(FIRST + at), "65536"] for at in (0, 1 << 16)
    ]
    assert "other containers have them all" in starts("three")
    pyunion("rm", "one")
    assert starts("four").split() == ["0", str(FIRST), "65536"]


def test_without_any_range_a_map_is_asked_for(pyunion: Pyunion, tmp_path: Path) -> None:
    arguments = ("run", "--userns=private", "--rootfs", pyunion.rootfs, "true")
    assert "say --uidmap" in with_ranges(pyunion, tmp_path, "", *arguments)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--userns=moon"], "unknown --userns 'moon'"),
        (["--userns=host", MAP], "conflicting options: --uidmap and --userns host"),
        (["--uidmap=0:x"], "invalid --uidmap '0:x'"),
        (["--uidmap=0:1:0"], "invalid --uidmap '0:1:0'"),
        (["--uidmap=0:4294967295:1"], "invalid --uidmap '0:4294967295:1'"),
        (["--uidmap=1:1000:5"], "--uidmap: the container needs an id 0"),
        (["--uidmap=0:1000:5", "--uidmap=3:2000:5"], "--uidmap: two of its ranges overlap"),
        ([MAP, "--gidmap=0:1:2,2:2:2"], "--gidmap: two of its ranges overlap"),
        ([MAP, "-u", "70000"], "user 70000: its user namespace has no such id"),
        ([f"--uidmap=0:{FIRST}:2000", "-u", "0:3000"], "group 3000: its user namespace has no such id"),
    ],
)
def test_what_cannot_be_is_refused(pyunion: Pyunion, options: list[str], culprit: str) -> None:
    result = pyunion.run("--network=none", *options, "true")
    assert (result.returncode, culprit in result.stderr) == (125, True)


def test_exec_gives_what_run_gives_also_what_the_machines_root_does_not_have(pyunion: Pyunion) -> None:
    capabilities = ("grep", "Cap", "/proc/self/status")
    options = (MAP, "--network=none", "--cap-add=ALL", "--rootfs", pyunion.rootfs)
    pyunion("run", "-d", "--name=box", *options, "sh", "-c", f"{' '.join(capabilities)}; sleep 1000")
    shown = pyunion("exec", "box", *capabilities).stdout
    assert "CapEff" in shown
    wait_for("the same", lambda: pyunion("logs", "box").stdout == shown)


def test_inspect_tells_the_map(pyunion: Pyunion) -> None:
    pyunion("create", "--name=box", MAP, "--rootfs", pyunion.rootfs, "true")
    shown = "{{.HostConfig.UsernsMode}} {{.HostConfig.IDMappings.UidMap}}"
    assert pyunion("inspect", "-f", shown, "box").stdout == f"private [0:{FIRST}:65536]\n"
