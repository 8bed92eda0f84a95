"""Images kept on filesystems that can't hold the kernel's marks of deletion."""

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image_store.conftest import CONFIG, Command, busybox
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs
from tests.support.mounts import PYUNIONFS

_LAYERS = "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work"
_MOUNTS = {
    "overlayfs": ("mount", "-t", "overlay", "-o", _LAYERS, "overlay", "{0}/root"),
    "no xattrs": ("mount", "-t", "ramfs", "-o", "mode=755", "ramfs", "{0}/root"),
    "a union of ours": (*PYUNIONFS, "-o", _LAYERS, "{0}/root"),
}


@pytest.fixture(params=_MOUNTS.values(), ids=list(_MOUNTS))
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A state directory on such a filesystem."""
    needs.kernel_overlayfs()
    for name in ("lower", "upper", "work", "root"):
        (tmp_path / name).mkdir()
    subprocess.run([word.format(tmp_path) for word in request.param], check=True)
    yield tmp_path / "root"
    subprocess.run(["umount", tmp_path / "root"], check=True)


def test_what_a_layer_deletes_is_not_seen(pyunion: Command, tmp_path: Path, root: Path) -> None:
    needs.commands("busybox")
    needs.fuse_device()
    lower = archive([member("d", tarfile.DIRTYPE), member("d/old", data=b"old"), member("e/old", data=b"old")])
    upper = archive([
        member("etc/.wh.old"), member("d/.wh..wh..opq"), member("d/new"),
        member("e/.wh.old"), member(".wh.e"), member("e", tarfile.DIRTYPE), member("e/new"),
    ])  # fmt: skip
    layout = make_layout(tmp_path / "layout", [busybox(), lower, upper], config=CONFIG)
    run = ("run", "--rm", f"oci:{layout}:example.org/test:1", "ls", "-A")
    assert pyunion(*run, "/d", "/e") == "/d:\nnew\n\n/e:\nnew\n"
    assert pyunion(*run, "/etc/old", status=1) == "ls: /etc/old: No such file or directory\n"
