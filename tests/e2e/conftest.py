"""The `pyunion` command as a user runs it, each test with a state directory of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.container.network import bring_loopback_up
from tests.support import needs
from tests.support.waiting import DEADLINE_S, wait_for
from unionfs.linux.process import CLONE_NEWNET, setns, unshare

_PASSWD = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"
_GROUP = "root:x:0:\nalice:x:1001:\nstaff:x:50:alice\naudio:x:63:root,alice\n"


class Process(NamedTuple):
    """One process of this machine, told from a later one of the same number."""

    pid: int
    parent: int
    title: str
    ticks: int

    def alive(self) -> bool:
        found = process(self.pid)
        return found is not None and found.ticks == self.ticks


def process(pid: int) -> Process | None:
    """The process `pid`; None if there is none, or a zombie."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), title, int(fields[19]))


def descendants(pid: int) -> list[Process]:
    """All below `pid`, parents before children."""
    everybody = [one for name in os.listdir("/proc") if name.isdigit() and (one := process(int(name)))]
    pids = [pid]
    family: list[Process] = []
    for parent in pids:
        children = [one for one in everybody if one.parent == parent]
        family += children
        pids += [child.pid for child in children]
    return family


class Pyunion:
    """The command, with `--root` and `--runroot` set, and the busybox tree `rootfs` to run on."""

    def __init__(self, state: Path, rootfs: Path) -> None:
        self.root = state / "root"
        self.runroot = state / "run"
        self.rootfs = rootfs

    def argv(self, *arguments: str | Path) -> list[str]:
        program = Path(sys.executable).with_name("pyunion")
        return [str(program), f"--root={self.root}", f"--runroot={self.runroot}", *map(str, arguments)]

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run one verb."""
        return subprocess.run(
            self.argv(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=DEADLINE_S,
            check=False,
        )

    def run(self, *arguments: str | Path, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """`run --rm` on the busybox tree."""
        return self("run", "--rm", "--rootfs", self.rootfs, *arguments, stdin=stdin)

    def output(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Standard output of a run() that must end well."""
        result = self.run(*arguments, stdin=stdin)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def run_on(self, layer: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """The same with `layer` on top of the busybox tree."""
        return self("run", "--rm", "--rootfs", f"{layer}:{self.rootfs}", *arguments)

    def sh(self, script: str, *options: str | Path) -> str:
        """What a shell script prints inside."""
        return self.output(*options, "sh", "-c", script)

    def start(self, *arguments: str | Path, **keywords: object) -> "subprocess.Popen[str]":
        """The same as run(), in the background."""
        argv = self.argv("run", "--rm", "--rootfs", self.rootfs, *arguments)
        pipe = subprocess.PIPE
        settings: dict[str, object] = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True}
        return subprocess.Popen(argv, **(settings | keywords))  # type: ignore[call-overload, no-any-return]

    def leftovers(self) -> list[str]:
        """What containers have left on disk, and in this namespace's mounts."""
        places = (self.root / "containers", self.root / "names", self.runroot)
        found = [str(path) for place in places if place.is_dir() for path in place.iterdir()]
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
        return found + [line for line in mounts if f" {self.root.parent}" in line]

    def containers(self) -> list[str]:
        """Names of all containers."""
        table = self("ps", "-a").stdout.splitlines()[1:]
        return [line.split()[-1] for line in table]


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem of busybox alone. No test may change it; see `pyunion`."""
    needs.superuser()
    needs.fuse_device()
    needs.commands("busybox")
    tree = tmp_path_factory.mktemp("busybox")
    tree.chmod(0o755)
    for directory in ("bin", "etc", "root", "tmp", "home/alice"):
        (tree / directory).mkdir(parents=True)
    program = shutil.which("busybox", path=needs.search_path()) or ""
    (tree / "bin/busybox").write_bytes(Path(program).read_bytes())
    (tree / "bin/busybox").chmod(0o755)
    names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in set(names) - {"busybox"}:
        (tree / "bin" / name).symlink_to("busybox")
    (tree / "etc/passwd").write_text(_PASSWD)
    (tree / "etc/group").write_text(_GROUP)
    (tree / "tmp").chmod(0o1777)
    os.chown(tree / "home/alice", 1000, 1001)
    if subprocess.run([tree / "bin/busybox", "true"], check=False).returncode:
        needs.missing("busybox doesn't run")
    return tree


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """An empty layer to fill with what an image could bring along."""
    directory = tmp_path / "layer"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


@pytest.fixture
def own_network() -> Iterator[None]:
    """A network namespace for this test, so that its containers' networks are none of this machine's."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        bring_loopback_up()
        yield
    finally:
        setns(own, CLONE_NEWNET)
        os.close(own)


@pytest.fixture
def pyunion(tmp_path: Path, busybox: Path, own_network: None) -> Iterator[Pyunion]:
    """The command; afterwards, what runs is ended, and neither the lower tree nor this machine's mounts may differ."""
    before = _snapshot(busybox)
    command = Pyunion(tmp_path / "state", busybox)
    yield command
    for name in command.containers():
        command("rm", "-f", name)
    wait_for("nothing left", lambda: command.leftovers() == [])
    assert _snapshot(busybox) == before


def _snapshot(tree: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for path in (tree, *tree.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found
