"""Kernels that offer less: the direct binding without each feature in turn, and without all of them."""

import mmap
import os
import stat
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion, as_user
from tests.support import lesser_fuse, mounts, needs
from unionfs.fuse.direct.protocol import Init

pytestmark = [needs.root, pytest.mark.uses(*Init.__members__)]

NAMES = 300


@pytest.fixture
def binding() -> str:
    return "direct"


@pytest.fixture(params=lesser_fuse.CHOICES)
def top(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, make_union: MakeUnion) -> Path:
    """A mount without the feature."""
    monkeypatch.setattr(mounts, "PYUNIONFS", lesser_fuse.command(request.param))
    return make_union(fill).top


def fill(lower: Path) -> None:
    (lower / "dir").mkdir()
    (lower / "file").write_bytes(b"lower " * 1000)
    (lower / "link").symlink_to("file")
    for number in range(NAMES):
        (lower / f"dir/{number}").touch()


def test_a_kernel_without_a_feature_is_served_as_well(top: Path) -> None:
    look_around(top)
    make_and_change(top)
    copy_up(top)
    take_set_id_bits(top)


def look_around(top: Path) -> None:
    for _ in range(2):
        assert sorted(os.listdir(top)) == ["dir", "file", "link"]
        assert sorted(os.listdir(top / "dir"), key=int) == [f"{number}" for number in range(NAMES)]
        assert [entry.stat().st_size for entry in os.scandir(top / "dir")] == [0] * NAMES
        assert os.readlink(top / "link") == "file"
        assert (top / "link").read_bytes() == b"lower " * 1000
        assert not (top / "absent").exists()


def make_and_change(top: Path) -> None:
    made = top / "made"
    with open(made, "xb") as file:
        file.write(b"x" * 300_000)
        file.truncate(200_000)
        os.fsync(file.fileno())
    made.write_bytes(b"short")
    with open(made, "ab") as file:
        file.write(b" end")
    assert made.read_bytes() == b"short end"
    os.setxattr(made, "user.key", b"value")
    os.utime(made, ns=(1, 2))
    os.link(made, top / "dir/linked")
    os.rename(made, top / "dir/0")
    status = (top / "dir/0").stat()
    assert (status.st_nlink, status.st_mtime_ns, status.st_atime_ns) == (2, 2, 1)
    assert os.getxattr(top / "dir/linked", "user.key") == b"value"
    (top / "dir/1").unlink()
    (top / "new").mkdir()
    (top / "new").rmdir()
    os.mkfifo(top / "fifo", 0o640)
    assert stat.S_ISFIFO((top / "fifo").stat().st_mode)
    assert sorted(os.listdir(top)) == ["dir", "fifo", "file", "link"]
    assert len(os.listdir(top / "dir")) == NAMES


def copy_up(top: Path) -> None:
    reader = os.open(top / "file", os.O_RDONLY)
    with mmap.mmap(reader, 0, prot=mmap.PROT_READ) as mapped:
        with open(top / "file", "r+b") as file:
            file.write(b"upper ")
        assert os.pread(reader, 12, 0) == b"upper lower " == mapped[:12]
    os.close(reader)
    old_umask = os.umask(0o027)
    try:
        (top / "masked").touch()
    finally:
        os.umask(old_umask)
    assert (top / "masked").stat().st_mode & 0o777 == 0o640


def take_set_id_bits(top: Path) -> None:
    program = top / "program"
    program.write_bytes(b"program")
    for script in (
        "os.pwrite(os.open(sys.argv[1], os.O_WRONLY), b'x', 0)",
        "os.truncate(sys.argv[1], 3)",
        "os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)",
    ):
        program.chmod(0o6777)
        assert as_user(1234, script, program) == ""
        assert program.stat().st_mode & 0o7777 == 0o777, script


def test_what_the_other_binding_lacks_is_one_list() -> None:
    """That of the documentation is that which the tests go by."""
    page = (Path(__file__).parents[2] / "docs/mount.md").read_text()
    table = page.split("What `binding=pyfuse3` cannot carry")[1].split("\n\n")[1]
    names = [name for row in table.splitlines()[2:] for name in row.split("|")[1].strip().split(", ")]
    assert sorted(names) == sorted(lesser_fuse.PYFUSE3_LACKS)
