"""An ordinary user unpacks: owners, set-id bits and devices are kept in xattrs, and the union shows them."""

import os
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.image.tar.unpack import unpack
from runtime.trees import remove_tree
from tests.image_store.layouts import archive, member
from tests.support import needs
from tests.support.mounts import MountFactory

pytestmark = needs.root
USER = 4242


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of the user's, on a filesystem that has his xattrs."""
    path = tempfile.mkdtemp(prefix="unpack-", dir="/var/tmp")
    os.chown(path, USER, USER)
    yield Path(path)
    remove_tree(path)


def as_user(work: Callable[[], None]) -> None:
    """Do `work` in a child process without privileges."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            work()
            status = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0


def test_owners_modes_and_devices(folder: Path, union_mount: MountFactory) -> None:
    data = archive([
        member("d", tarfile.DIRTYPE, mode=0o1700, uid=7, gid=8),
        member("d/suid", data=b"#!", mode=0o6755, uid=9, gid=10, mtime=1e9),
        member("d/readonly", data=b"x", mode=0o444),
        member("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
        member("fifo", tarfile.FIFOTYPE, mode=0o600, uid=5),
        member("link", tarfile.SYMTYPE, linkname="d/suid"),
        member(".wh.gone"),
        member("d/.wh..wh..opq"),
    ])  # fmt: skip
    layer = folder / "layer"

    def work() -> None:
        layer.mkdir()
        root = os.open(layer, os.O_RDONLY)
        pieces = iter([data])
        unpack(lambda: next(pieces, b""), root)

    as_user(work)
    real = os.stat(layer / "d/suid")
    assert (real.st_uid, real.st_gid, real.st_mode & 0o6000) == (USER, USER, 0)
    assert stat.S_ISREG(os.stat(layer / "null").st_mode)
    lower = folder / "lower"
    (lower / "d").mkdir(parents=True)
    for name in ("gone", "d/old"):
        (lower / name).write_text("")
    path = union_mount([layer, lower], options="dialect=auto").path
    shown = os.stat(path / "d/suid")
    assert (shown.st_uid, shown.st_gid, stat.S_IMODE(shown.st_mode), shown.st_mtime) == (9, 10, 0o6755, 1e9)
    assert (os.stat(path / "d").st_uid, stat.S_IMODE(os.stat(path / "d").st_mode)) == (7, 0o1700)
    assert stat.S_ISCHR(os.stat(path / "null").st_mode)
    assert os.stat(path / "null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(os.stat(path / "fifo").st_mode)
    assert sorted(os.listdir(path)) == ["d", "fifo", "link", "null"]
    assert sorted(os.listdir(path / "d")) == ["readonly", "suid"]
