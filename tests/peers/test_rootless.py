"""Podman of an ordinary user, whose containers ask the mount program to map ids."""

import os
import shlex
import subprocess

import pytest

from tests.peers.conftest import Engine
from tests.support import needs

pytestmark = [pytest.mark.peers, pytest.mark.slow, needs.root]

USER, SUB_IDS = 4242, 200000
PREPARE = """
set -e
cd {home}
for name in passwd group subuid subgid; do
    cat /etc/$name > $name.new 2>/dev/null || :
    [ -e /etc/$name ] || touch /etc/$name
done
echo 'tester:x:{user}:{user}::{home}:/bin/sh' >> passwd.new
echo 'tester:x:{user}:' >> group.new
echo 'tester:{sub_ids}:65536' | tee subuid.new > subgid.new
for name in passwd group subuid subgid; do mount --bind $name.new /etc/$name; done
mkdir dev
mount -t tmpfs tmpfs dev
mknod -m 666 dev/fuse c 10 229
mount --bind dev/fuse /dev/fuse
umount /sys/fs/cgroup/unified 2>/dev/null || :  # of which an ordinary user's runc has no part
exec setpriv --reuid {user} --regid {user} --clear-groups sh -ec {script}
"""
SCRIPT = """
podman() { command podman --storage-driver overlay --storage-opt overlay.mount_program={program} "$@"; }
end() { podman rm --all --force --time 0; kill $(cat run/libpod/tmp/pause.pid); } >/dev/null 2>&1
trap end EXIT
podman import --quiet box.tar localhost/box >/dev/null
podman run --rm {options} localhost/box sh -c {command}
"""
COMMAND = """
stat -c %u:%g /data/0 /data/1
if [ $(id -u) = 0 ]; then chown 7:8 /data/0; echo new > /data/new; stat -c %u:%g /data/0 /data/new
else touch /home/mine; stat -c %u:%g /home/mine; chmod 600 /home/mine; touch /data/new; fi 2>&1
"""


@pytest.mark.parametrize(("options", "said"), [
    ("", ["5:6", "4242:4242", "7:8", "0:0"]),
    ("--uidmap 0:1:1000 --gidmap 0:1:1000", ["5:6", "65534:65534", "7:8", "0:0"]),
    ("--userns keep-id", ["5:6", "4242:4242", "4242:4242", "touch: /data/new: Permission denied"]),
])
def test_whose_ids_a_container_sees(podman: Engine, options: str, said: list[str]) -> None:
    needs.commands("newuidmap", "newgidmap", "setpriv", "unshare")
    home = podman.top / "home"
    (home / "run").mkdir(parents=True)
    podman.top.chmod(0o755)
    rootfs = podman.top / "rootfs"
    (rootfs / "home").mkdir()
    for name, uid, gid in (("data/0", 5, 6), ("data/1", USER, USER), ("home", USER, USER)):
        os.chown(rootfs / name, uid, gid)
    subprocess.run(["tar", "-C", rootfs, "-cf", home / "box.tar", "."], check=True)
    for path in (home, home / "run"):
        os.chown(path, USER, USER)
        path.chmod(0o700)
    (home / "box.tar").chmod(0o644)
    script = fill(SCRIPT, program=podman.top / "pyunionfs", options=options, command=shlex.quote(COMMAND))
    result = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c",
         fill(PREPARE, home=home, user=USER, sub_ids=SUB_IDS, script=shlex.quote(script))],
        env={"PATH": needs.search_path(), "HOME": str(home), "XDG_RUNTIME_DIR": f"{home}/run",
             "CONTAINERS_CONF": str(podman.top / "containers.conf")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )
    assert result.stdout.splitlines() == said, result.stderr


def fill(template: str, **values: object) -> str:
    """`template` with {name} replaced for each of `values`; other braces are the shell's."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template
