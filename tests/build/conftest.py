"""`pyunion build` as a user runs it, on a store that the tests share and that has one image: `box`, a busybox."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.trees import remove_tree
from tests.support import needs

TIMEOUT_S = 60
_PASSWD = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"
_GROUP = "root:x:0:\nalice:x:1001:\nstaff:x:50:alice\n"
Files = Mapping[str, str | bytes]
Environ = Mapping[str, str]


class Done(NamedTuple):
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class Builder:
    """The command, on one store."""

    def __init__(self, state: Path, contexts: Path) -> None:
        self.root = state / "root"
        self.runroot = state / "run"
        self.contexts = contexts
        """A directory for contexts; what a test makes there goes with the test."""

    def argv(self, *arguments: str | Path) -> list[str]:
        program = Path(sys.executable).with_name("pyunion")
        return [str(program), f"--root={self.root}", f"--runroot={self.runroot}", *map(str, arguments)]

    def call(self, *arguments: str | Path, stdin: bytes | None = None, environ: Environ | None = None) -> Done:
        """Run any verb."""
        done = subprocess.run(
            self.argv(*arguments), input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            env={**os.environ, **(environ or {})}, capture_output=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def context(self, dockerfile: str, files: Files | None = None) -> Path:
        """A context with that Dockerfile and those files."""
        directory = self.contexts / f"context{len(os.listdir(self.contexts))}"
        directory.mkdir()
        for name, content in {"Dockerfile": dockerfile, **(files or {})}.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return directory

    def build(self, context: Path, *options: str, **environ: str) -> str:
        """Build what must be built; what was printed, to standard error as well."""
        done = self.call("build", *options, context, environ=environ)
        assert done.status == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self, context: Path, *options: str) -> str:
        """Build what can't be built: the complaint, after which nothing is left."""
        done = self.call("build", *options, context)
        assert done.status == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert self.leftovers() == []
        return done.stderr

    def sh(self, image: str, script: str, *options: str) -> str:
        """What a script prints in a container of an image."""
        done = self.call("run", "--rm", "--network", "none", *options, "--entrypoint", "/bin/sh", image, "-c", script)
        assert done.status == 0, done.stderr
        return done.stdout

    def config(self, image: str) -> dict[str, object]:
        """The configuration document of an image, as skopeo reads it from the store."""
        needs.commands("skopeo")
        command = ["skopeo", "inspect", "--config", "--raw", f"oci:{self.root}/images:docker.io/library/{image}:latest"]
        found: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return found

    def leftovers(self) -> list[str]:
        """What builds have left behind."""
        builds = self.root / "builds"
        return os.listdir(builds) if builds.is_dir() else []


@pytest.fixture(scope="session")
def box_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a root filesystem of busybox alone."""
    needs.superuser()
    needs.fuse_device()
    needs.commands("busybox")
    tree = tmp_path_factory.mktemp("box")
    tree.chmod(0o755)
    for directory in ("bin", "etc", "root", "tmp", "usr/lib"):
        (tree / directory).mkdir(parents=True)
    program = shutil.which("busybox", path=needs.search_path()) or ""
    shutil.copy(program, tree / "bin/busybox")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in set(names) - {"busybox"}:
        (tree / "bin" / name).symlink_to("busybox")
    (tree / "etc/passwd").write_text(_PASSWD)
    (tree / "etc/group").write_text(_GROUP)
    (tree / "tmp").chmod(0o1777)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "home").mkdir()
    (tree / "home").chmod(0o711)
    path = tree.parent / "box.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tree, ".", filter=_of_root)
    shutil.rmtree(tree)
    return path


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory, box_tree: Path) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("store")
    yield _with_box(state, box_tree)
    remove_tree(str(state))


@pytest.fixture
def builder(shared_store: Path, tmp_path: Path) -> Iterator[Builder]:
    """On the shared store."""
    builder = Builder(shared_store, tmp_path)
    yield builder
    assert builder.leftovers() == []


@pytest.fixture
def fresh(tmp_path: Path, box_tree: Path) -> Iterator[Builder]:
    """On a store of its own."""
    (tmp_path / "contexts").mkdir()
    builder = Builder(_with_box(tmp_path / "state", box_tree), tmp_path / "contexts")
    yield builder
    assert builder.leftovers() == []
    remove_tree(str(tmp_path / "state"))


def _with_box(state: Path, box_tree: Path) -> Path:
    done = Builder(state, state).call("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", box_tree, "box")
    assert done.status == 0, done.stderr
    return state


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 1_000_000_000
    return member
