"""The command on a store of the test, and an image that runs.

What the stores leave is removed by our own hand: pytest's recursion ends before some trees do.
"""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.trees import remove_tree
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs

HOUSE = Path(__file__).resolve().parent.parent.parent
CONFIG = {
    "Env": ["PATH=/bin", "FROM=image"], "Cmd": ["sh", "-c", "id -u; pwd; echo $FROM"], "WorkingDir": "/srv/app",
    "User": "web", "Labels": {"a": "b"}, "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGUSR1",
}  # fmt: skip
Command = Callable[..., str]


def busybox() -> bytes:
    """A layer with a shell."""
    program = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    names = ("sh", "id", "ls", "cat", "rm", "ln", "chmod", "true", "head")
    links = [member(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox") for name in names]
    users = b"root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"
    return archive([
        member("bin", tarfile.DIRTYPE), member("bin/busybox", data=program, mode=0o755), *links,
        member("etc", tarfile.DIRTYPE), member("etc/passwd", data=users),
        member("etc/group", data=b"web:x:1000:\n"), member("etc/old", data=b"old"),
    ])  # fmt: skip


@pytest.fixture
def pyunion(tmp_path: Path) -> Command:
    """Run a verb on a store of the test; its output, or the error if it is to fail (None: or not)."""

    def call(*words: str | Path, stdin: bytes | None = None, status: int | None = 0) -> str:
        if words[0] == "run":
            words = ("run", "--network=none", *words[1:])
        places = ("--root", tmp_path / "root", "--runroot", tmp_path / "run")
        command = [sys.executable, "-m", "tools.main", *places, *words]
        result = subprocess.run(command, cwd=HOUSE, input=stdin, capture_output=True, timeout=100, check=False)
        assert status in (result.returncode, None), result.stderr.decode()
        return (result.stdout if status == 0 else result.stderr).decode()

    return call


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    needs.commands("busybox")
    needs.fuse_device()
    return make_layout(tmp_path / "layout", [busybox(), archive([member("etc/.wh.old")])], config=CONFIG)


@pytest.fixture(autouse=True)
def _deep_trees_go(tmp_path: Path) -> Iterator[None]:
    yield
    for path in tmp_path.iterdir():
        if path.is_dir() and not path.is_symlink():
            remove_tree(str(path))
