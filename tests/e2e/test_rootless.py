"""Containers of an ordinary user: a second user of this machine, without any privilege."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import process
from tests.support import needs

USER = 40_000 + os.getpid() % 20_000  # several may test at once
PROGRAM = Path(sys.executable).with_name("pyunion")
SUB_IDS = (4 + os.getpid() % 1000) << 16
_PREPARE = """
set -e
cd {top}
for name in passwd group subuid subgid; do
    cat /etc/$name > $name.$$ 2>/dev/null || :
    [ -e /etc/$name ] || touch /etc/$name
done
echo 'tester:x:{user}:{user}::{top}/home:/bin/sh' >> passwd.$$
echo 'tester:x:{user}:' >> group.$$
[ -z '{ranges}' ] || echo 'tester:{sub_ids}:65536' | tee subuid.$$ > subgid.$$
for name in passwd group subuid subgid; do mount --bind $name.$$ /etc/$name; done
mkdir -p dev
mount -t tmpfs tmpfs dev
mknod -m 666 dev/fuse c 10 229
mount --bind dev/fuse /dev/fuse
exec setpriv --reuid {user} --regid {user} --clear-groups env -i PATH="$PATH" HOME={top}/home \
    XDG_RUNTIME_DIR={top}/home/run XDG_DATA_HOME={top}/home/data sh -ec '
        pyunion() {{ {program} "$@"; }}
        box() {{ pyunion run --rm --rootfs {top}/rootfs "$@"; }}
        cd {top}/home; . {script}'
"""


class User:
    """Runs scripts as that user; `pyunion` is the command, `box` runs in a new container."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.ranges = True

    def argv(self, script: str) -> list[str]:
        """A shell of the user's that runs `script`, in a process without others above it."""
        with tempfile.NamedTemporaryFile("w", dir=self.top, prefix="script-", delete=False) as file:
            file.write(script)
        os.chmod(file.name, 0o644)
        ranges = "yes" if self.ranges else ""
        names = {"top": self.top, "user": USER, "sub_ids": SUB_IDS, "program": PROGRAM, "ranges": ranges}
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", _PREPARE.format(script=file.name, **names)]

    def __call__(self, script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.argv(script), capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )

    def output(self, script: str) -> str:
        result = self(script)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout


@pytest.fixture
def user(busybox: Path) -> Iterator[User]:
    """Afterwards, nothing of the user's may run or be mounted."""
    needs.commands("newuidmap", "newgidmap", "setpriv", "unshare", "tee")
    top = Path(tempfile.mkdtemp(prefix="pyunion-user-", dir="/var/tmp"))
    top.chmod(0o755)
    shutil.copytree(busybox, top / "rootfs", symlinks=True)
    (top / "home").mkdir(mode=0o700)
    os.chown(top / "home", USER, USER)
    os.chown(top / "rootfs", USER, USER)
    try:
        yield User(top)
        assert list((top / "home/run/pyunion").iterdir()) == []
        assert processes() == []
    finally:
        shutil.rmtree(top)


def processes() -> list[str]:
    """Those of the user, and of his ranges."""
    found = []
    for name in os.listdir("/proc"):
        try:
            uid = os.stat(f"/proc/{name}").st_uid
            if name.isdigit() and (uid == USER or SUB_IDS <= uid < SUB_IDS + 65536) and (one := process(int(name))):
                found.append(one.title)
        except FileNotFoundError:
            continue
    return found


def test_root_inside_is_the_user_outside(user: User) -> None:
    text = user.output("box sh -c 'id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status'")
    identity, *maps, capabilities = text.splitlines()
    assert identity == "0"
    assert [line.split() for line in maps] == [["0", str(USER), "1"], ["1", str(SUB_IDS), "65535"]]
    assert int(capabilities.split()[1], 16) & 1 << 21 == 0, "no CAP_SYS_ADMIN"


def test_exec_gives_what_run_gives(user: User) -> None:
    text = user.output(f"""
        for options in --cap-drop=kill --cap-add=net_raw --privileged '--user alice --cap-add=net_raw'; do
            pyunion run -d --name one $options --rootfs {user.top}/rootfs sleep 1000 >id
            pyunion exec one grep -E '^(Cap|Seccomp:)' /proc/self/status >by-exec
            box $options grep -E '^(Cap|Seccomp:)' /proc/self/status >by-run
            cmp by-run by-exec && grep -c Cap by-exec
            pyunion rm -f one
        done
    """)
    assert text.split() == ["5", "one"] * 4


def test_files_belong_to_whom_they_are_given(user: User) -> None:
    text = user.output(f"""
        pyunion run --name one --rootfs {user.top}/rootfs \\
            sh -c 'echo x >/f; chown 33:44 /f; chmod 4755 /f; mkdir -p -m 700 /d'
        pyunion start one; pyunion wait one
        pyunion diff one
        find data/pyunion/containers -name f -exec stat -c %u {{}} +
        pyunion rm one
        box sh -c 'echo x >/f; chown 33:44 /f; stat -c "%u:%g" /f; su -s /bin/sh alice -c "id -u; cat /f"'
    """)
    assert text.splitlines()[1:] == ["0", "A /d", "A /f", str(USER), "one", "33:44", "1000", "x"]


def test_the_life_of_a_container(user: User) -> None:
    text = user.output(f"""
        pyunion run -d --name one --rootfs {user.top}/rootfs \\
            sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done'
        until pyunion logs one | grep ready; do :; done
        pyunion exec one sh -c 'id -u; hostname | wc -c'
        pyunion exec -u alice one id -u
        pyunion top one | grep -c trap
        pyunion stop one
        pyunion inspect -f '{{{{.State.ExitCode}}}}' one
        pyunion start one; pyunion kill one; pyunion wait one; pyunion rm one; pyunion ps -aq
    """)
    assert text.splitlines()[1:] == ["ready", "0", "13", "1000", "1", "one", "3", "one", "one", "137", "one"]


def test_network_none_and_volumes(user: User) -> None:
    text = user.output("""
        mkdir mine; echo out >mine/file
        box --network none -v $PWD/mine:/mine sh -c 'cat /mine/file; echo in >/mine/new; ip link | grep -c mtu'
        stat -c %u mine/new
        box -v $PWD/mine:/mine:ro sh -c 'echo x >/mine/x' 2>&1 || :
    """)
    assert text.splitlines()[:3] == ["out", "1", str(USER)]
    assert "Read-only" in text


def test_an_image_is_unpacked_and_run(user: User) -> None:
    text = user.output(f"""
        tar -C {user.top}/rootfs -cf box.tar --owner=0 --group=0 .
        pyunion import box.tar box >/dev/null
        pyunion run --rm box sh -c 'stat -c %u:%g /etc/passwd; id -u'
        pyunion run --rm -u alice box id -u
    """)
    assert text.splitlines() == ["0:0", "0", "1000"]


def test_without_ranges_there_is_root_alone(user: User) -> None:
    user.ranges = False
    assert user.output("box sh -c 'id -u; echo x >/f; stat -c %u:%g /f /bin'").splitlines() == ["0", "0:0", "0:0"]
    result = user("box -u alice id")
    assert (result.returncode, result.stdout) == (125, "")
    assert "/etc/subuid" in result.stderr


def test_why_there_is_no_user_namespace_is_told_once_and_nothing_is_left(user: User) -> None:
    text = user.output("""
        mkdir programs
        printf '#!/bin/sh\necho not today >&2; exit 1\n' >programs/newuidmap
        chmod +x programs/newuidmap
        PATH=$PWD/programs:$PATH box true 2>&1 || echo $?
        ls run/pyunion
    """)
    assert text.splitlines() == ["pyunion run: not today", "125"]


def test_root_of_a_namespace_of_the_users_is_told_what_to_do_instead(user: User) -> None:
    """Whatever there is of the machine's root."""
    (user.top / "closed").mkdir(mode=0o700)
    places = f"--root={user.top}/closed/root --runroot={user.top}/closed"
    text = user.output(f"unshare -rm {PROGRAM} {places} run --rm --rootfs ../rootfs true 2>&1 || echo $?")
    assert "run pyunion as an ordinary user there" in text
    assert text.splitlines()[1:] == ["125"]
    user.output("box true")


def test_others_of_the_machine_are_out_of_reach(user: User) -> None:
    """The host's root is nobody inside, and his files are his."""
    script = "stat -c %u /host/passwd; cat /host/shadow 2>&1; echo x 2>&1 >/host/x"
    text = user.output(f"box -v /etc:/host sh -c '{script}' || :")
    assert text.splitlines()[0] == "65534"
    assert text.count("Permission denied") + text.count("can't") >= 2


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_files_are_copied_in_and_out(user: User, state: str, ranges: bool) -> None:
    user.ranges = ranges
    stop = "pyunion stop -t 0 one >/dev/null" if state == "stopped" else ":"
    text = user.output(f"""
        pyunion run -d --name one --rootfs {user.top}/rootfs sh -c 'mkdir /d; echo hi >/d/f; sleep 1000' >/dev/null
        until [ "$(pyunion exec one cat /d/f 2>&1)" = hi ]; do :; done
        {stop}
        mkdir src; echo mine >src/g; chmod 640 src/g
        pyunion cp one:/d out
        pyunion cp src/. one:/d
        pyunion cp one:/d - | tar -tvf - --numeric-owner | sed 's/ .* / /'
        cat out/f; stat -c %u:%a out/f
        pyunion rm -f one >/dev/null
    """)
    assert text.splitlines() == ["drwxr-xr-x d/", "-rw-r--r-- d/f", "-rw-r----- d/g", "hi", f"{USER}:644"]


def test_owners_that_are_copied_are_those_of_the_container(user: User) -> None:
    """Outside they are ids of the user's ranges."""
    text = user.output(f"""
        pyunion run --name one --rootfs {user.top}/rootfs sh -c 'echo hi >/f; chown 33:44 /f'
        pyunion cp one:/f - | tar -tvf - --numeric-owner | cut -d' ' -f2
        pyunion cp one:/f plain
        pyunion cp -a one:/f kept
        stat -c %u:%g plain kept
        pyunion cp -a kept one:/back
        pyunion cp one:/back - | tar -tvf - --numeric-owner | cut -d' ' -f2
        pyunion rm one >/dev/null
    """)
    assert text.splitlines() == ["33/44", f"{USER}:{USER}", f"{SUB_IDS + 32}:{SUB_IDS + 43}", "33/44"]


def test_a_link_that_is_copied_from_leads_nowhere_but_into_the_container(user: User) -> None:
    text = user.output(f"""
        echo secret >secret
        pyunion run -d --name one --rootfs {user.top}/rootfs \\
            sh -c "ln -s $PWD /out; touch /ready; sleep 1000" >/dev/null
        until pyunion exec one cat /ready 2>/dev/null; do :; done
        pyunion cp one:/out/secret here 2>&1 || :
        pyunion rm -f one >/dev/null
        ls
    """)
    assert "No such file" in text
    assert "here" not in text.splitlines()


def test_its_health_is_looked_after_and_its_clocks_are_its_own(user: User) -> None:
    script = """
        options="--health-interval 50ms --time-offset boottime=864000000"
        pyunion run -d --name box $options --health-cmd 'id -u; test -e /bin' --rootfs ../rootfs sleep 1000 >/dev/null
        until pyunion ps --format '{{.Status}}' | grep -q '(healthy)'; do :; done
        pyunion inspect -f '{{(index .State.Health.Log 0).Output}}' box
        pyunion exec box cat /proc/uptime | cut -c1-2
        pyunion rm -f box"""
    assert user.output(script).split() == ["0", "86", "box"]


def test_keep_id_makes_the_user_who_he_is_outside(user: User) -> None:
    """Root is somebody else then, who can give files away."""
    text = user.output("""
        mkdir mine
        keep() { box --userns keep-id -v $PWD/mine:/mine "$@"; }
        keep sh -c 'id -u; id -g; echo x >/mine/his; echo x >/dev/stdout'
        keep --user 0 sh -c 'id -u; echo x >/f; chown 33:44 /f; stat -c %u:%g /f /mine/his'
        box --userns keep-id:uid=200,gid=210 -v $PWD/mine:/mine sh -c 'id -u; id -g; echo x >/mine/other'
        stat -c %u:%g mine/his mine/other
    """)
    own = f"{USER}:{USER}"
    assert text.split() == [str(USER), str(USER), "x", "0", "33:44", own, "200", "210", own, own]


def test_a_container_that_keeps_ids_is_used_as_any_other(user: User) -> None:
    text = user.output(f"""
        pyunion run -d --name one --userns keep-id --health-interval 50ms \\
            --health-cmd 'id -u >/tmp/new; mv /tmp/new /tmp/health' \\
            --rootfs {user.top}/rootfs sh -c 'chmod 1777 /tmp; exec sleep 1000' >/dev/null
        until pyunion ps --format '{{{{.Status}}}}' | grep -q '(healthy)'; do :; done
        pyunion exec one sh -c 'id -u; cat /tmp/health; echo x >/dev/stdout'
        pyunion exec --user 0 one sh -c 'echo x >/root/f; chown 33:44 /root/f'
        pyunion cp one:/root/f - | tar -tvf - --numeric-owner | cut -d' ' -f2
        pyunion cp one:/root/f out; stat -c %u out; pyunion cp out one:/root/g
        pyunion top one | tail -1 | cut -d' ' -f1
        box --pid container:one true 2>&1 || :
        pyunion stop -t 1 one; pyunion start one; pyunion exec one stat -c %u:%g /root/f; pyunion rm -f one
    """)
    refused = "pyunion run: container one is in another user namespace: it was made with --userns keep-id"
    lines = text.splitlines()
    assert lines[:3] == [str(USER), str(USER), "x"]
    assert lines[-8:] == ["33/44", str(USER), str(USER), refused, "one", "one", "33:44", "one"]


def test_keep_id_that_can_not_be_had_is_refused(user: User) -> None:
    text = user.output("""
        for mode in keep-id:gid=x keep-id:size=3 nomap; do box --userns $mode true 2>&1 | head -1; done
        box --userns keep-id --uidmap 0:1:1 true 2>&1 | head -1
    """)
    user.ranges = False
    text += user.output("box --userns keep-id true 2>&1 || :")
    starts = ["invalid --userns"] * 2
    starts += ["--userns nomap: it needs root", "conflicting options", "--userns keep-id: /etc/subuid"]
    assert all(line.startswith(f"pyunion run: {start}") for line, start in zip(text.splitlines(), starts, strict=True))


def test_namespaces_of_another_container_are_shared(user: User) -> None:
    """And the user namespace with them, which is all that has the right to the others."""
    show = "for kind in user pid ipc uts net; do readlink /proc/self/ns/$kind; done | xargs"
    text = user.output(f"""
        pyunion run -d --name one --network none --rootfs {user.top}/rootfs \\
            sh -c 'echo x >/dev/shm/file; sleep 1000' >/dev/null
        pyunion exec one sh -c '{show}'
        for kind in pid ipc uts network userns; do box --$kind=container:one sh -c '{show}; ls /dev/shm'; done
        pyunion run -d --name two --pid container:one --network container:one \\
            --rootfs {user.top}/rootfs sleep 1000 >/dev/null
        pyunion exec two sh -c '{show}; ps | grep -c [s]leep'
        pyunion rm -f two one >/dev/null
    """)
    first, pid, ipc, uts, net, users, two, sleeping = [line.split() for line in text.splitlines() if line != "file"]
    assert len(set(first)) == 5
    same = [[one for one in found if one in first] for found in (pid, ipc, uts, net, users)]
    expected = [[first[0], first[1]], [first[0], first[2]], [first[0], first[3]], [first[0], first[4]], [first[0]]]
    assert same == expected
    assert text.splitlines().count("file") == 1, "the /dev/shm that comes with ipc"
    assert [one for one in two if one in first] == [first[0], first[1], first[4]]
    assert sleeping == ["2"]


def test_nothing_runs_on_in_pids_that_are_shared(user: User) -> None:
    """An ordinary user has no control group here that would hold a container's processes together."""
    text = user.output(f"""
        pyunion run -d --name one --rootfs {user.top}/rootfs sleep 1000 >/dev/null
        for pids in host container:one; do
            pyunion run --name two --pid $pids --rootfs {user.top}/rootfs sh -c 'sleep 1234 & setsid sleep 1234 & echo'
            pyunion rm two
            ps -e -o args | grep -c '^sleep 123[4]' || :
        done
        pyunion rm -f one
    """)
    assert text.split() == ["two", "0", "two", "0", "one"]


def test_what_can_not_be_shared_is_told(user: User) -> None:
    text = user.output(f"""
        for name in one two; do pyunion run -d --name $name --rootfs {user.top}/rootfs sleep 1000 >/dev/null; done
        box --pid container:one --ipc container:two true 2>&1 || echo $?
        pyunion rm -f one two >/dev/null
        box --pid container:one true 2>&1 || echo $?
    """)
    assert text.splitlines() == [
        "pyunion run: container two is in another user namespace: those that share anything share that, too",
        "125",
        "pyunion run: no such container: one",
        "125",
    ]


def test_an_image_can_be_mounted_beside_the_root_filesystem(user: User) -> None:
    said = user.output("""
        mkdir tree; echo hello > tree/file; pyunion import tree data:1 >/dev/null
        box --mount type=image,src=data:1,dst=/data sh -c 'cat /data/file; rm /data/file 2>&1 || true'
    """)
    assert said == "hello\nrm: can't remove '/data/file': Read-only file system\n"
