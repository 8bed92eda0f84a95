"""What root of a container can't do: gain rights, reach the kernel's riskier parts, leave its groups and terminal."""

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.conftest import CALL, PYTHON, Pyunion
from tests.support import needs

pytestmark = needs.root

_SETS = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status"
_USUAL = "00000000800405fb"
_NONE = "0" * 16


def sets(text: str) -> dict[str, str]:
    """Lines of /proc/self/status."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_root_has_the_usual_capabilities_and_none_that_a_program_would_inherit(pyunion: Pyunion) -> None:
    found = sets(pyunion.sh(_SETS))
    assert (found["CapBnd"], found["CapPrm"], found["CapEff"]) == (_USUAL,) * 3
    assert (found["CapInh"], found["CapAmb"]) == (_NONE, _NONE)
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("0", "2")


def test_another_user_has_none_but_may_gain_the_usual_ones_by_set_user_id(pyunion: Pyunion) -> None:
    found = sets(pyunion.sh(_SETS, "-u", "alice"))
    assert [found[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [_NONE] * 4
    assert found["CapBnd"] == _USUAL


def test_exec_gives_what_run_gives(pyunion: Pyunion) -> None:
    name = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "sleep", "1000").stdout.strip()
    for options in ((), ("-u", "alice"), ("-u", "1:50"), ("-u", "alice:staff")):
        assert pyunion("exec", *options, name, "sh", "-c", _SETS).stdout == pyunion.sh(_SETS, *options)
    pyunion("rm", "-f", name)


def test_a_capability_that_was_added_is_of_use_to_another_user_too(pyunion: Pyunion) -> None:
    wanted = f"{1 << 13:016x}"
    found = sets(pyunion.sh(_SETS, "-u", "alice", "--cap-add", "net_raw"))
    assert [found[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [wanted] * 4


def test_dropping_all_leaves_nothing_to_gain(pyunion: Pyunion) -> None:
    found = sets(pyunion.sh(_SETS, "--cap-drop", "all"))
    assert [found[name] for name in ("CapBnd", "CapPrm", "CapEff")] == [_NONE] * 3


def test_the_first_process_keeps_the_right_to_send_signals_alone(pyunion: Pyunion) -> None:
    found = sets(pyunion.sh("cat /proc/1/status"))
    assert (found["CapPrm"], found["CapEff"], found["CapInh"]) == (f"{1 << 5:016x}",) * 2 + (_NONE,)


@pytest.mark.parametrize("option", ["no-new-privileges", "no-new-privileges=false"])
def test_a_set_user_id_program_gives_nothing_when_that_is_forbidden(inside: Callable[..., str], option: str) -> None:
    program = (
        "import os, shutil\nshutil.copy('/usr/bin/id', '/tmp/as-root'); os.chmod('/tmp/as-root', 0o4755)\n"
        "os.setgid(1000); os.setuid(1000); os.execv('/tmp/as-root', ['id'])"
    )
    assert ("euid=0" in inside(program, "--security-opt", option)) == option.endswith("false")


def test_groups_of_the_caller_are_not_those_of_the_command(pyunion: Pyunion) -> None:
    before = os.getgroups()
    os.setgroups([12345])
    try:
        assert "12345" not in pyunion.sh("id -G", "-u", "1000")
        assert "12345" not in sets(pyunion.sh(_SETS))["Groups"]
    finally:
        os.setgroups(before)


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("1", "1 0"),
        ("01", "1 0"),
        ("alice", "1000 1001"),
        ("1000", "1000 1001"),
        ("1000:50", "1000 50"),
        (":50", "0 50"),
        ("alice:", "1000 1001"),
        ("2147483647", "2147483647 0"),
    ],
)
def test_who_runs_it_is_who_was_asked_for(pyunion: Pyunion, user: str, ids: str) -> None:
    """CVE-2026-30892 was about `exec`."""
    name = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "sleep", "1000").stdout.strip()
    assert pyunion("exec", "-u", user, name, "sh", "-c", "echo $(id -u) $(id -g)").stdout == f"{ids}\n"
    assert pyunion.sh("echo $(id -u) $(id -g)", "-u", user) == f"{ids}\n"
    pyunion("rm", "-f", name)


@pytest.mark.parametrize("user", ["2147483648", "4294967296", "-1", "1.0", "0x1", "absent", "1:absent", "１"])
def test_who_is_nobody_runs_nothing(pyunion: Pyunion, user: str) -> None:
    assert pyunion.run("-u", user, "id").returncode == 125


def test_passwd_can_be_neither_a_pipe_nor_endless(pyunion: Pyunion, layer: Path) -> None:
    """CVE-2024-9676: whoever reads it would wait for ever, or run out of memory."""
    (layer / "etc").mkdir()
    os.mkfifo(layer / "etc/passwd")
    assert "not a regular file" in pyunion.run_on(layer, "-u", "alice", "true").stderr
    (layer / "etc/passwd").unlink()
    with open(layer / "etc/passwd", "wb") as file:
        file.truncate(1 << 40)
    assert "larger than 1 MiB" in pyunion.run_on(layer, "-u", "alice", "true").stderr


_REFUSED = {
    "mount": (165, "EPERM"),
    "umount2": (166, "EPERM"),
    "pivot_root": (155, "EPERM"),
    "unshare": (272, "EPERM"),
    "setns": (308, "EPERM"),
    "bpf": (321, "EPERM"),
    "perf_event_open": (298, "EPERM"),
    "keyctl": (250, "EPERM"),
    "add_key": (248, "EPERM"),
    "userfaultfd": (323, "EPERM"),
    "kexec_load": (246, "EPERM"),
    "init_module": (175, "EPERM"),
    "open_by_handle_at": (304, "EPERM"),
    "reboot": (169, "EPERM"),
    "settimeofday": (164, "EPERM"),
    "ioperm": (173, "EPERM"),
    "clone3": (435, "ENOSYS"),
    "io_uring_setup": (425, "ENOSYS"),
    "io_uring_enter": (426, "ENOSYS"),
    "one of the future": (2000, "ENOSYS"),
}


def _need_x86() -> None:
    if os.uname().machine != "x86_64":
        needs.missing("numbers of system calls of x86-64")


def test_risky_system_calls_are_refused_and_new_ones_unknown(inside: Callable[..., str]) -> None:
    _need_x86()
    numbers = [number for number, _ in _REFUSED.values()]
    answers = inside(CALL + f"print([call(number, 0, 0, 0, 0, 0, 0) for number in {numbers}])")
    assert answers == f"{[answer for _, answer in _REFUSED.values()]}\n"


def test_no_namespace_can_be_made_by_clone(inside: Callable[..., str]) -> None:
    _need_x86()
    flags = [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)]
    answers = inside(CALL + f"print({{call(56, flag | 17, 0, 0, 0, 0) for flag in {flags}}})")
    assert answers == "{'EPERM'}\n"


def test_a_personality_that_weakens_memory_protection_cannot_be_had(inside: Callable[..., str]) -> None:
    _need_x86()
    assert inside(CALL + "print(call(135, 0x0400000), call(135, 0x0040000), call(135, 0xffffffff))") == (
        "ENOSYS ENOSYS done\n"
    )


def test_the_session_keyring_of_the_caller_is_not_the_containers(inside: Callable[..., str]) -> None:
    """Nor are its keys, which a name in a keyring that both have would make reachable."""
    _need_x86()
    ask = CALL + "print(libc.syscall(250, 0, -3, 0))\n"  # KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING
    own = subprocess.run([PYTHON, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert int(own) > 0
    answers = {inside(ask, "--security-opt", "seccomp=unconfined", *more) for more in ((), ("--privileged",))}
    assert len(answers | {own}) == 3
    assert inside(ask) == "-1\n"


def test_sockets_to_the_kernels_ciphers_and_to_hypervisors_are_refused(inside: Callable[..., str]) -> None:
    _need_x86()
    kinds = [("AF_ALG", 38, 5), ("AF_VSOCK", 40, 1), ("AF_INET", 2, 1), ("AF_UNIX", 1, 1)]
    program = CALL + f"print([call(41, family, kind, 0) for _, family, kind in {kinds}])"
    assert inside(program) == "['EAFNOSUPPORT', 'EAFNOSUPPORT', 'done', 'done']\n"


def test_a_profile_of_ones_own_is_obeyed(pyunion: Pyunion, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    for more in ((), ("--security-opt", "no-new-privileges")):
        result = pyunion.run("--security-opt", f"seccomp={profile}", *more, "mkdir", "/new")
        assert "No space left on device" in result.stderr
    assert pyunion.run("--security-opt", "seccomp=unconfined", "mkdir", "/new").returncode == 0
    assert sets(pyunion.sh(_SETS, "--security-opt", "seccomp=unconfined"))["Seccomp"] == "0"


def test_the_control_groups_cannot_be_used_to_run_a_program_outside(pyunion: Pyunion) -> None:
    """CVE-2022-0492: a release agent is run by the kernel, as root of the machine."""
    attempts = (
        "mkdir /g; mount -t cgroup -o memory none /g; mount -t cgroup2 none /g; mount -t tmpfs none /g;"
        "unshare -Ur true; unshare -C true; unshare -m true;"
        "for f in $(find /sys/fs/cgroup /g -name release_agent); do echo /x > $f && echo WRITTEN $f; done;"
        "find /sys/fs/cgroup -name cgroup.procs | while read f; do echo $$ > $f && echo ENTERED $f; done;"
        "mkdir /sys/fs/cgroup/*/new && echo MADE"
    )
    result = pyunion.run("sh", "-c", attempts)
    assert not {"WRITTEN", "ENTERED", "MADE"} & set(result.stdout.split())


def test_what_names_a_program_for_the_kernel_to_run_cannot_be_written(pyunion: Pyunion) -> None:
    """core_pattern, modprobe, binfmt_misc and uevent_helper: the kernel runs those as root of the machine."""
    script = (
        "mkdir -p /b; mount -t binfmt_misc none /b; umount /proc/sys /proc/sysrq-trigger;"
        "for d in /proc/sys /sys /proc/sysrq-trigger; do mount -o remount,rw $d; mount -o remount,rw,bind $d; done;"
        "cd /proc/sys; for f in kernel/core_pattern kernel/modprobe kernel/hotplug fs/binfmt_misc/register"
        " /proc/sysrq-trigger /sys/kernel/uevent_helper /b/register; do"
        " if [ -e $f ] && (: >>$f); then echo OPENED $f; fi; done; echo end"
    )
    for more in ((), ("--cap-add", "net_admin"), ("--security-opt", "seccomp=unconfined")):
        result = pyunion.run(*more, "sh", "-c", script)
        assert "end\n" in result.stdout
        assert [line for line in result.stdout.splitlines() if line.startswith("OPENED")] == []


def test_parameters_of_the_whole_machine_are_refused(pyunion: Pyunion) -> None:
    """CVE-2022-0811: kernel.core_pattern names a program that the kernel runs."""
    for name in ("kernel.core_pattern", "vm.overcommit_memory", "net.ipv4/../../kernel.core_pattern"):
        result = pyunion.run("--sysctl", f"{name}=|/evil", "true")
        assert (result.returncode, result.stdout) == (125, "")
        assert "--sysctl" in result.stderr or "sysctl" in result.stderr
    for file in ("core_pattern", "hostname"):
        assert "Read-only" in pyunion.run("sh", "-c", f"echo x > /proc/sys/kernel/{file}").stderr


def test_devices_of_the_machine_can_be_neither_made_nor_opened(pyunion: Pyunion, layer: Path) -> None:
    """Without the capability; with it, by the list of devices; and a node of the image not at all."""
    (layer / "dev-of-image").mkdir()
    os.mknod(layer / "dev-of-image/kmsg", stat.S_IFCHR | 0o666, os.makedev(1, 11))
    assert "Operation not permitted" in pyunion.run("mknod", "/tmp/kmsg", "c", "1", "11").stderr
    assert pyunion.run_on(layer, "head", "-c", "1", "/dev-of-image/kmsg").returncode != 0
    for directory in ("/tmp", "/dev"):
        make = f"mknod {directory}/kmsg c 1 11 && head -c 1 {directory}/kmsg"
        result = pyunion.run("--cap-add", "mknod", "sh", "-c", make)
        assert result.returncode != 0
        assert "not permitted" in result.stderr or "Permission denied" in result.stderr


def test_a_device_that_was_asked_for_can_be_used_as_far_as_that(pyunion: Pyunion) -> None:
    look = "ls -l /dev/in/zero2; head -c 1 /dev/in/zero2 | wc -c; echo x > /dev/in/zero2"
    result = pyunion.run("--device", "/dev/kmsg:/dev/in/zero2:r", "sh", "-c", look)
    assert "1,  11 " in result.stdout
    assert "not permitted" in result.stderr


def test_a_terminal_of_the_caller_cannot_be_typed_into(pyunion: Pyunion, inside: Callable[..., str]) -> None:
    """TIOCSTI puts characters into the input of a terminal: the container's is none of the caller's."""
    program = "import os\ntry: print(os.open('/dev/tty', os.O_RDWR))\nexcept OSError as error: print(error.strerror)"
    assert inside(program) == "No such device or address\n"
    assert pyunion.sh("ps -o pid,sid,tty | grep -c '?'")
    assert "0 " not in pyunion.sh("cat /proc/self/stat").split(")")[1].split()[4]


def test_what_containers_are_called_cannot_move_the_cursor(pyunion: Pyunion) -> None:
    escape = "\033[2J\033]0;owned\007"
    name = pyunion("run", "-d", "--rootfs", pyunion.rootfs, "-l", f"x={escape}", "sleep", "1000", escape).stdout.strip()
    for verb in (("ps",), ("ps", "-a", "--no-trunc"), ("top", name), ("exec", name, escape), ("rm", escape)):
        result = pyunion(*verb)
        assert "\033" not in result.stdout + result.stderr, verb
        assert "\007" not in result.stdout + result.stderr, verb
    pyunion("rm", "-f", name)


def test_what_files_are_called_cannot_either_nor_be_lines_of_their_own(pyunion: Pyunion) -> None:
    make = """: > "$(printf '/a\\033[2J\\nD x')" """
    pyunion("run", "--name", "escape", "--rootfs", pyunion.rootfs, "sh", "-c", make)
    assert pyunion("diff", "escape").stdout == "A /a\\x1b[2J\\nD x\n"


def test_a_fork_bomb_ends_at_its_limit(pyunion: Pyunion) -> None:
    bomb = "i=0; while [ $i -lt 60 ]; do sleep 9 & i=$((i+1)); done; echo all"
    result = pyunion.run("--pids-limit", "30", "sh", "-c", bomb)
    assert "all" not in result.stdout
    assert "can't fork" in result.stderr


def test_the_whole_of_the_machine_is_only_for_the_privileged(pyunion: Pyunion) -> None:
    look = "mkdir /m; mount -t tmpfs none /m && echo mounted; test -e /dev/kmsg && echo devices; " + _SETS
    plain, privileged = pyunion.run("sh", "-c", look).stdout, pyunion.sh(look, "--privileged")
    assert "mounted" not in plain
    assert "devices" not in plain
    assert "mounted\ndevices\n" in privileged
    assert sets(privileged)["Seccomp"] == "0"
    own = Path("/proc/self/status").read_text()
    assert sets(privileged)["CapEff"] == sets(own)["CapEff"]


def test_what_pyunion_itself_may_not_it_cannot_give(pyunion: Pyunion) -> None:
    own = int(sets(Path("/proc/self/status").read_text())["CapEff"], 16)
    if own >> 24 & 1:
        pytest.skip("all capabilities are there")
    result = pyunion.run("--cap-add", "sys_resource", "true")
    assert "--cap-add SYS_RESOURCE: pyunion itself doesn't have" in result.stderr
