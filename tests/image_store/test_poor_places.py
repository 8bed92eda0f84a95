"""Images kept on filesystems that can't hold the kernel's marks of deletion."""

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image_store.conftest import CONFIG, Command, busybox
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs

_OVERLAY = ("overlay", "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work")
_RAMFS = ("ramfs", "mode=755")


@pytest.fixture(params=[_OVERLAY, _RAMFS], ids=["no device nodes 0:0", "no xattrs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A state directory on such a filesystem."""
    needs.kernel_overlayfs()
    for name in ("lower", "upper", "work", "root"):
        (tmp_path / name).mkdir()
    kind, options = request.param
    subprocess.run(["mount", "-t", kind, "-o", options.format(tmp_path), kind, tmp_path / "root"], check=True)
    yield tmp_path / "root"
    subprocess.run(["umount", tmp_path / "root"], check=True)


def test_what_a_layer_deletes_is_not_seen(pyunion: Command, tmp_path: Path, root: Path) -> None:
    needs.commands("busybox")
    needs.fuse_device()
    lower = archive([member("d", tarfile.DIRTYPE), member("d/old", data=b"old"), member("e/old", data=b"old")])
    upper = archive([
        member("etc/.wh.old"), member("d/.wh..wh..opq"), member("d/new"),
        member(".wh.e"), member("e", tarfile.DIRTYPE), member("e/new"),
    ])  # fmt: skip
    layout = make_layout(tmp_path / "layout", [busybox(), lower, upper], config=CONFIG)
    run = ("run", "--rm", f"oci:{layout}:example.org/test:1", "ls", "-A")
    assert pyunion(*run, "/d", "/e") == "/d:\nnew\n\n/e:\nnew\n"
    assert pyunion(*run, "/etc/old", status=1) == "ls: /etc/old: No such file or directory\n"
