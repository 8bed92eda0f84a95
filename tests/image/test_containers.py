"""The same real Debian as the root filesystem of a container made by `pyunion run`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.image import Image
from tests.support.tree import snapshot

HOUSE = Path(__file__).resolve().parent.parent.parent


class Pyunion:
    """The command, with a root and runroot of its own."""

    def __init__(self, places: Path) -> None:
        self._command = [sys.executable, "-m", "pyunion", f"--root={places}/root", f"--runroot={places}/run"]

    def __call__(self, *arguments: str) -> str:
        """What the command prints to standard output; it must succeed."""
        command = [*self._command, *arguments]
        result = subprocess.run(
            command, cwd=HOUSE, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture
def pyunion(tmp_path: Path) -> Pyunion:
    """The command, with everything it keeps in the test's own directory."""
    return Pyunion(tmp_path)


@pytest.fixture
def rootfs(image: Image) -> str:
    """The image as an option of `pyunion run`."""
    return "--rootfs=" + ":".join(map(str, image.layers))


def test_a_c_program_is_compiled_and_runs(pyunion: Pyunion, rootfs: str) -> None:
    script = """
        printf '#include <stdio.h>\\nint main(void) { puts("compiled"); return 0; }' > /opt/x.c
        cd /opt; gcc -o x x.c; ./x; python3 -c 'import ssl, json; print(json.dumps(ssl.OPENSSL_VERSION_INFO[:1]))'
    """
    assert pyunion("run", "--rm", rootfs, "sh", "-ec", script) == "compiled\n[3]\n"


def test_a_package_is_installed_and_the_changes_are_listed(pyunion: Pyunion, image: Image, rootfs: str) -> None:
    before = [snapshot(layer, content=False) for layer in image.layers[:2]]
    script = """
        apt-get -y -qq --no-install-recommends --no-download -o Dpkg::Use-Pty=0 install bc > /dev/null 2>&1
        echo '6*7' | bc; rm -r /opt/app/json
    """
    assert pyunion("run", "--name=installed", rootfs, "sh", "-ec", script) == "42\n"
    changes = pyunion("diff", "installed").splitlines()
    assert {"A /usr/bin/bc", "C /var/lib/dpkg/status", "D /opt/app/json"} <= set(changes)
    assert pyunion("rm", "installed") == "installed\n"
    assert [snapshot(layer, content=False) for layer in image.layers[:2]] == before


def test_a_stopped_container_goes_on_where_it_was(pyunion: Pyunion, rootfs: str) -> None:
    script = """
        test -d /opt/repo || git init -q /opt/repo
        cd /opt/repo; date +%N >> log; git add log; git -c user.name=a -c user.email=a@b.c commit -qm more
        git fsck; git rev-list --count HEAD
    """
    assert pyunion("run", "--name=again", rootfs, "sh", "-ec", script) == "1\n"
    assert pyunion("start", "-a", "again") == "2\n"
    assert pyunion("start", "-a", "again") == "3\n"
    pyunion("rm", "again")
