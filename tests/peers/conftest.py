"""Podman and Buildah with pyunionfs as their mount program, on a storage of their own and without a network."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.mounts import PYUNIONFS

CHECKOUT = Path(__file__).parents[2]
RUN_TIMEOUT_S = 100
APPLETS = ("sh", "cat", "chmod", "chown", "echo", "grep", "id", "ln", "ls", "mkdir", "mv", "rm", "stat", "touch")

CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


@dataclass
class Engine:
    """Podman or Buildah."""

    name: str
    top: Path
    options: tuple[str, ...] = ()

    def __call__(self, *arguments: object, ok: bool = True) -> str:
        """Run it; what it printed, standard error included if it may fail."""
        storage = ["--root", self.top / "root", "--runroot", self.top / "run", "--storage-driver", "overlay"]
        program = ["--storage-opt", f"overlay.mount_program={self.top}/pyunionfs"]
        result = subprocess.run(
            [self.name, *map(str, [*storage, *program, *self.options, *arguments])],
            env={**os.environ, "CONTAINERS_CONF": str(self.top / "containers.conf")},
            cwd=self.top, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
        )
        if ok:
            assert result.returncode == 0, result.stderr
            return result.stdout
        return result.stdout + result.stderr


@pytest.fixture
def storage() -> Iterator[Path]:
    """A folder for the engines' storage, configuration and mount program; no union stays mounted in it."""
    needs.superuser()
    needs.fuse_device()
    needs.commands("busybox", "runc")
    top = Path(tempfile.mkdtemp(prefix="peers-", dir="/var/tmp"))  # podman takes 50 characters at most
    program = top / "pyunionfs"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(CHECKOUT))} exec {shlex.join(PYUNIONFS)} "$@"\n')
    program.chmod(0o755)
    (top / "containers.conf").write_text(CONFIGURATION)
    yield top
    left = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    unions = []
    for point in reversed([point for point in left if point.startswith(f"{top}/")]):
        if point.endswith("/merged"):
            unions.append(point)
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    shutil.rmtree(top, ignore_errors=True)
    assert unions == [], "left mounted"


@pytest.fixture
def podman(storage: Path) -> Iterator[Engine]:
    """Podman, with the image localhost/box: a busybox."""
    needs.commands("podman")
    engine = Engine("podman", storage)
    rootfs = storage / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox", path=needs.search_path())
    assert busybox is not None
    shutil.copy(busybox, rootfs / "bin/busybox")
    for name in APPLETS:
        (rootfs / "bin" / name).symlink_to("busybox")
    (rootfs / "data").mkdir()
    for number in range(3):
        (rootfs / f"data/{number}").write_text(f"{number}\n")
    subprocess.run(["tar", "-C", rootfs, "-cf", storage / "box.tar", "."], check=True)
    engine("import", "--change", 'CMD ["/bin/sh"]', storage / "box.tar", "localhost/box")
    yield engine
    engine("rm", "--all", "--force", "--time", "0")


@pytest.fixture
def buildah(podman: Engine) -> Engine:
    """Buildah, on Podman's storage."""
    needs.commands("buildah")
    return Engine("buildah", podman.top)
