"""unionfs.linux.mounts: mounts by descriptor, in a mount namespace of the test's own."""

import errno
import os
from pathlib import Path

import pytest

from tests.support import needs
from tests.unit.linux.test_process import in_child
from unionfs.linux import mounts, process
from unionfs.linux.clone import detached_clone

pytestmark = needs.root


def alone() -> None:
    """Leave the mount namespace of the machine."""
    process.unshare(process.CLONE_NEWNS)
    mounts.make_private(b"/")


def test_a_filesystem_is_nowhere_until_it_is_moved(tmp_path: Path) -> None:
    def child() -> list[str]:
        alone()
        mount = mounts.fsmount(b"tmpfs", {b"size": b"1m", b"mode": b"700"}, mounts.MOUNT_ATTR_NODEV)
        os.close(os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=mount))
        before = os.listdir(tmp_path)
        mounts.move_mount(mount, os.open(tmp_path, os.O_PATH))
        after = os.listdir(tmp_path)
        with pytest.raises(OSError):
            mounts.umount2(os.fsencode(tmp_path))  # in use by our descriptors
        mounts.umount2(os.fsencode(tmp_path), mounts.MNT_DETACH)
        return [*before, "|", *after, "|", *os.listdir(tmp_path)]

    assert in_child(child) == "['|', 'made', '|']"


def test_read_only_holds_for_mounts_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()

    def child() -> str:
        alone()
        mounts.move_mount(mounts.fsmount(b"tmpfs", {}), os.open(tmp_path / "below", os.O_PATH))
        tree = mounts.open_tree(None, os.fsencode(tmp_path), recursive=True)
        mounts.set_attributes(tree, mounts.MOUNT_ATTR_RDONLY, recursive=True)
        with pytest.raises(OSError) as caught:
            os.mkdir("below/x", dir_fd=tree)
        os.mkdir(tmp_path / "below/x")
        return errno.errorcode[caught.value.errno or 0]

    assert in_child(child) == "EROFS"


def test_a_clone_is_read_only_and_without_what_is_mounted_below(tmp_path: Path) -> None:
    (tmp_path / "below/hidden").mkdir(parents=True)

    def child() -> str:
        alone()
        mounts.move_mount(mounts.fsmount(b"tmpfs", {}), os.open(tmp_path / "below", os.O_PATH))
        clone = detached_clone(os.fsencode(tmp_path))
        flags = os.fstatvfs(clone).f_flag
        names = os.listdir(os.open("below", os.O_RDONLY, dir_fd=clone))
        return f"{names} {bool(flags & os.ST_RDONLY)} {bool(flags & os.ST_NOATIME)}"

    assert in_child(child) == "['hidden'] True True"


def test_pivot_root_leaves_nothing_of_the_old_root(tmp_path: Path) -> None:
    def child() -> list[str]:
        alone()
        root = mounts.fsmount(b"tmpfs", {})
        mounts.move_mount(root, os.open(tmp_path, os.O_PATH))
        os.mkdir("new", dir_fd=root)
        os.fchdir(root)
        mounts.pivot_root(b".", b".")
        mounts.umount2(b".", mounts.MNT_DETACH)
        os.chdir("/")
        return os.listdir("/") + os.listdir("/..")

    assert in_child(child) == "['new', 'new']"


@pytest.mark.parametrize(
    ("kind", "options"), [(b"no-such-fs", {}), (b"tmpfs", {b"size": b"odd"}), (b"tmpfs", {b"x": None})]
)
def test_what_the_kernel_does_not_know_is_an_error_and_leaves_no_descriptor(
    kind: bytes, options: dict[bytes, bytes | None]
) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError):
        mounts.fsmount(kind, options)
    assert os.listdir("/proc/self/fd") == before
