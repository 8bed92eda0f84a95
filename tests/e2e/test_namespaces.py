"""What a container sees of the machine: namespaces, mounts, devices, privileges."""

import os
import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion


def mount_table(text: str) -> dict[str, tuple[str, str]]:
    """Target: (type, options), of /proc/mounts."""
    table = {}
    for line in text.splitlines():
        _, target, kind, options, *_ = line.split()
        table[target] = (kind, options)
    return table


@pytest.mark.parametrize("kind", ["mnt", "pid", "uts", "ipc"])
def test_the_namespace_is_new(pyunion: Pyunion, kind: str) -> None:
    assert pyunion.output("readlink", f"/proc/self/ns/{kind}").strip() != os.readlink(f"/proc/self/ns/{kind}")


def test_the_network_is_its_own_or_the_hosts_or_loopback_alone_with_none(pyunion: Pyunion) -> None:
    ours = os.readlink("/proc/self/ns/net")
    assert pyunion.output("--network", "host", "readlink", "/proc/self/ns/net").strip() == ours
    assert pyunion.output("ls", "/sys/class/net") == "eth0\nlo\n"
    assert pyunion.output("--network", "none", "readlink", "/proc/self/ns/net").strip() != ours
    script = "ls /sys/class/net; echo hello | nc -l -p 9 & until nc 127.0.0.1 9 </dev/null 2>&0; do :; done"
    assert pyunion.sh(script, "--network=none") == "lo\nhello\n"


def test_the_command_is_a_child_of_pid_1_and_sees_nobody_else(pyunion: Pyunion) -> None:
    assert pyunion.sh("echo $$ $PPID; cd /proc; echo [0-9]*") == "2 1\n1 2\n"


def test_the_hostname_is_inside_only(pyunion: Pyunion) -> None:
    ours = socket.gethostname()
    assert pyunion.sh("hostname; cat /etc/hostname; hostname", "--hostname", "box") == "box\nbox\nbox\n"
    assert socket.gethostname() == ours


def test_the_hostname_is_the_short_id_by_default(pyunion: Pyunion) -> None:
    name = pyunion.output("hostname").strip()
    assert len(name) == 12
    assert set(name) <= set("0123456789abcdef")


def test_the_mounts_are_these_and_no_others(pyunion: Pyunion) -> None:
    table = mount_table(pyunion.output("cat", "/proc/mounts"))
    kinds = {target: kind for target, (kind, _) in table.items()}
    expected = {
        "/": "fuse.pyunionfs",
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
        "/etc/hosts": "tmpfs",
        "/etc/hostname": "tmpfs",
        "/etc/resolv.conf": "tmpfs",
    }
    assert kinds.items() >= expected.items()
    rest = kinds.keys() - expected.keys()
    assert {target for target in rest if not target.startswith(("/proc/", "/sys/"))} == set()
    assert all({"nosuid", "nodev", "noexec"} <= set(table[place][1].split(",")) for place in ("/proc", "/sys"))
    assert "nodev" in table["/"][1].split(",")
    written = [options.split(",") for target, (kind, options) in table.items() if target.startswith(("/etc/", "/dev/"))]
    assert all("nosuid" in options for options in written)


def test_mounts_are_private(pyunion: Pyunion) -> None:
    lines = pyunion.output("cat", "/proc/self/mountinfo").splitlines()
    assert [line for line in lines if "shared:" in line or "master:" in line] == []


def test_nothing_of_the_old_root_is_left(pyunion: Pyunion) -> None:
    assert set(pyunion.sh("ls -A /").split()) == {"bin", "dev", "etc", "home", "proc", "root", "sys", "tmp"}
    assert pyunion.sh("cd /; cd ..; cd ../..; pwd; ls -A /proc/1/root/ 2>&1 | grep -o denied") == "/\ndenied\n"


def test_the_first_process_shows_nothing_of_the_host(pyunion: Pyunion) -> None:
    assert pyunion.output("cat", "/proc/1/cmdline").strip("\0") == "pyunion: init"
    script = """cd /proc/1; for f in environ maps mem fd/0; do cat $f >/dev/null 2>&1 && echo $f; done
        for link in exe cwd root fd/0 ns/mnt; do readlink $link; done; :"""
    assert pyunion.sh(script) == ""


def test_only_stdio_is_open_and_it_is_not_the_callers(pyunion: Pyunion, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file, (tmp_path / "log").open() as reading:
        os.set_inheritable(reading.fileno(), True)
        process = pyunion.start("ls", "-l", "/proc/self/fd", stdout=file, close_fds=False)
        process.communicate()
    targets = [line.rpartition(" -> ")[2].partition(":")[0] for line in log.read_text().splitlines()[1:]]
    assert (targets[:3], len(targets)) == (["/dev/null", "pipe", "pipe"], 4)  # the fourth is ls's own


def test_dev_has_its_usual_nodes(pyunion: Pyunion) -> None:
    nodes = pyunion.sh("cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty")
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    assert nodes.splitlines() == [f"{name} character special file {number} 666" for name, number in numbers.items()]
    links = pyunion.sh("cd /dev; for link in fd stdin stdout stderr ptmx core; do readlink $link; done").split()
    assert links == ["/proc/self/fd", *(f"/proc/self/fd/{fd}" for fd in range(3)), "pts/ptmx", "/proc/kcore"]
    assert pyunion.sh("cd /dev; head -c3 zero | wc -c; echo x >null; echo x 2>null >full || echo full") == "3\nfull\n"


def test_shm_is_shared_memory_of_its_own(pyunion: Pyunion) -> None:
    assert pyunion.sh("echo x >/dev/shm/it; cat /dev/shm/it; stat -c %a /dev/shm") == "x\n1777\n"
    assert not Path("/dev/shm/it").exists()


def test_sys_and_parts_of_proc_are_read_only(pyunion: Pyunion) -> None:
    script = """mkdir /sys/x 2>&1 | grep -c 'Read-only'
        for f in sysrq-trigger sys/kernel/hostname sys/vm/drop_caches; do
            [ ! -e /proc/$f ] || (echo x >/proc/$f) 2>&1 | grep 'Read-only' >/dev/null || echo $f; done"""
    assert pyunion.sh(script) == "1\n"


def test_masked_paths_are_empty(pyunion: Pyunion) -> None:
    script = """for f in kcore keys timer_list sched_debug interrupts; do [ -e /proc/$f ] && head -c1 /proc/$f; done
        for d in /proc/acpi /proc/scsi /sys/firmware; do [ -d $d ] && ls -A $d; done; :"""
    assert pyunion.sh(script) == ""


def test_capabilities_are_the_default_set(pyunion: Pyunion) -> None:
    sets = dict(line.split(":\t") for line in pyunion.output("grep", "Cap", "/proc/self/status").splitlines())
    default = f"{0x800405FB:016x}"
    assert sets == {"CapInh": "0" * 16, "CapPrm": default, "CapEff": default, "CapBnd": default, "CapAmb": "0" * 16}


def test_an_ordinary_user_has_no_capabilities(pyunion: Pyunion) -> None:
    lines = pyunion.output("-u", "1000", "grep", "Cap", "/proc/self/status").splitlines()
    sets = {name: int(mask, 16) for name, mask in (line.split(":\t") for line in lines)}
    assert sets["CapPrm"] == sets["CapEff"] == sets["CapAmb"] == sets["CapInh"] == 0


def test_mounting_and_new_devices_are_refused(pyunion: Pyunion) -> None:
    script = """mount -t tmpfs x /tmp 2>&1 | grep -c denied; umount /proc 2>&1 | grep -c permitted
        mknod /tmp/disk b 8 0 2>&1 | grep -c permitted"""
    assert pyunion.sh(script) == "1\n1\n1\n"


def test_the_mounts_of_a_running_container_are_not_seen_outside(pyunion: Pyunion) -> None:
    process = pyunion.start("-i", "sh", "-c", "echo ready; read x; cat /proc/mounts | wc -l")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    ours = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(pyunion.root.parent) in line]
    out, _ = process.communicate("go\n")
    assert (ours, int(out) > 5) == ([], True)


def test_zombies_are_reaped(pyunion: Pyunion) -> None:
    script = """for i in 1 2 3 4 5; do (sh -c 'sleep 0 & exit' &); done
        set --; until [ $# = 2 ]; do set -- /proc/[0-9]*; done; echo gone"""
    assert pyunion.sh(script) == "gone\n"


def test_resolv_conf_and_hosts_are_sensible(pyunion: Pyunion) -> None:
    ours = Path("/etc/resolv.conf")
    assert pyunion.output("cat", "/etc/resolv.conf") == (ours.read_text() if ours.exists() else "")
    hosts = pyunion.sh("cat /etc/hosts", "--hostname", "box").split("\n")
    assert "127.0.0.1\tlocalhost" in hosts
    assert any(line.split()[1:] == ["box"] for line in hosts if line)
