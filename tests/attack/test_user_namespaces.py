"""What root of a container in a user namespace of its own, with every capability there is in it, can't do outside."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.attack.conftest import CALL, Pyunion

FIRST = (1 << 30) + (os.getpid() % 1000 << 16)  # several may test at once
BOX = (f"--uidmap=0:{FIRST}:65536", "--cap-add=ALL", "--security-opt=seccomp=unconfined")


def test_root_inside_is_nobody_to_the_files_of_the_machine(pyunion: Pyunion, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    tmp_path.chmod(0o777)
    script = """cat /host/secret; echo x >/host/secret; chown 0 /host/secret; chmod 777 /host/secret
        cp /bin/busybox /host/su; chmod 4755 /host/su; stat -c %u /host/su"""
    result = pyunion.run(*BOX, "-v", f"{tmp_path}:/host", "sh", "-c", script)
    assert result.stdout == "0\n"
    assert result.stderr.count("ermission denied") + result.stderr.count("not permitted") >= 4
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("secret\n", 0o600)
    assert (tmp_path / "su").stat().st_uid == FIRST  # set-user-id of somebody who is nobody


def test_the_machine_itself_cannot_be_changed(inside: Callable[..., str]) -> None:
    said = inside(
        CALL
        + """
import os
os.makedirs('/tmp/proc')
libc.mount(b'proc', b'/tmp/proc', b'proc', 0, None)
def refused(what, do):
    try:
        do()
    except OSError as error:
        pass
    else:
        print(what)
refused('device', lambda: os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0)))
refused('sysctl', lambda: os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY))
refused('sysctl of another proc', lambda: os.open('/tmp/proc/sys/kernel/core_pattern', os.O_WRONLY))
for name, number in (('init_module', 175), ('reboot', 169), ('settimeofday', 164)):
    if call(number, 0, 0, 0, 0) == 'done':
        print(name)
print('tried')
""",
        *BOX,
    )
    assert said == "tried\n"


def test_other_containers_and_the_runtimes_processes_are_not_within_reach(pyunion: Pyunion) -> None:
    """It sees them, sharing the machine's pids, but it is another user than they."""
    script = """for pid in $(ls /proc | grep '^[0-9]*$'); do
            grep -q "^Uid:.65534" /proc/$pid/status 2>/dev/null && kill -0 $pid 2>/dev/null && echo reached $pid
        done; echo tried"""
    assert pyunion.sh(script, *BOX, "--pid=host") == "tried\n"


def test_a_process_that_comes_in_cannot_be_taken_over(pyunion: Pyunion) -> None:
    """exec and cp become the container's users; until they are its own processes nothing looks into them."""
    pyunion("run", "-d", "--name=box", *BOX, "--rootfs", pyunion.rootfs, "sh", "-c", """
        while :; do for pid in /proc/[0-9]*; do
            readlink $pid/exe 2>/dev/null | grep -v -e busybox; tr '\\0' '\\n' <$pid/environ 2>/dev/null | grep VENV
        done; done""")
    for _ in range(5):
        assert pyunion("exec", "box", "true").returncode == 0
        assert pyunion("cp", "box:/etc/passwd", "-").returncode == 0
    assert pyunion("logs", "box").stdout == ""


def test_the_upper_is_out_of_reach_of_the_ids_it_is_mapped_to(pyunion: Pyunion) -> None:
    """A set-user-id program of root's inside is one of the machine's root in the upper: nobody else gets there."""
    script = "cp /bin/busybox /tmp/su; chmod 4755 /tmp/su"
    pyunion("run", "--name=box", *BOX, "--rootfs", pyunion.rootfs, "sh", "-c", script)
    (program,) = (pyunion.root / "containers").glob("*/diff/tmp/su")
    assert (program.stat().st_uid, program.stat().st_mode & 0o7777) == (0, 0o4755)
    for user in (FIRST, 65534):
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "sh", "-c", f"exec {program}"]
        tried = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (tried.returncode, tried.stdout) == (126, ""), tried.stderr
