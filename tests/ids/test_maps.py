"""uidmapping, gidmapping and squash_to_*: who owns what, as users see it and as the layers hold it.

Where fuse-overlayfs is right it is the contract, and the same calls are made on it.
"""

import errno
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.ids.conftest import acting_as, fuse_overlayfs, id_map, owner, refused
from tests.support import needs
from tests.support.mounts import Mounted, MountFactory
from unionfs.linux import mounts

pytestmark = needs.root

MAP = "0:1000:1:1:110000:65536"
MAPPED = f"uidmapping={MAP},gidmapping={MAP}"
NOBODY = 65534
STORED = (0, 1, 5, 1000, 65537, 70000)
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NO_ID = 0xFFFFFFFF


def shown(stored: int) -> int:
    """What users see of an id, by MAP."""
    return 1000 if stored == 0 else 109999 + stored if stored <= 65536 else NOBODY


def acl(*named: tuple[int, int]) -> bytes:
    """An access control list in which each of `named` (tag, id) may read and write."""
    entries = [(USER_OBJ, 6, NO_ID), *((USER, 6, who) for tag, who in named if tag == USER), (GROUP_OBJ, 4, NO_ID),
               *((GROUP, 6, who) for tag, who in named if tag == GROUP), (MASK, 6, NO_ID), (OTHER, 0, NO_ID)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def fill(lower: Path) -> None:
    lower.chmod(0o777)
    for stored in STORED:
        path = lower / f"of-{stored}"
        path.write_text("content")
        path.chmod(0o640)
        os.chown(path, stored, stored)
    (lower / "link").symlink_to("of-5")
    os.lchown(lower / "link", 5, 6)


@pytest.fixture
def mount(place: Path, union_mount: MountFactory) -> Callable[..., Mounted]:
    fill(place / "lower")

    def make(options: str = MAPPED, **more: Any) -> Mounted:
        return union_mount([place / "lower"], place / "upper", at=place / "merged", options=options, **more)

    return make


def beside(place: Path, mount: Callable[..., Mounted], options: str, act: Callable[[Path], object]) -> None:
    """`act` returns the same on ours and on fuse-overlayfs, and leaves the same owners in the upper."""
    with fuse_overlayfs(place / "lower", place / "peer-upper", place / "peer", options) as peer:
        wanted = act(peer), owners(peer)
    mounted = mount(options)
    assert (act(mounted.path), owners(mounted.path)) == wanted
    assert owners(place / "upper") == owners(place / "peer-upper")


def owners(top: Path) -> dict[str, tuple[int, int]]:
    return {path.name: owner(path) for path in top.iterdir() if not path.name.startswith(".wh.")}


def make_things(root: Path) -> None:
    """As mapped users, and as root what it may do."""
    def make() -> None:
        os.umask(0o022)
        uid = os.getuid()
        (root / f"file-{uid}").write_text("new")
        (root / f"dir-{uid}").mkdir()
        (root / f"symlink-{uid}").symlink_to("x")
        os.mkfifo(root / f"fifo-{uid}")

    for uid in (1000, 110004):
        assert acting_as(uid, make, gid=110007) is None
    os.chown(root / "of-0", 110009, -1)
    os.chown(root / "of-1", -1, 110010)
    os.lchown(root / "link", 1000, 110011)
    os.chmod(root / "of-1000", 0o600)
    with open(root / "of-70000", "a") as file:
        file.write("more")


@pytest.mark.parametrize("options", [
    MAPPED, f"uidmapping={MAP}", f"gidmapping=:{MAP}", "squash_to_root", "squash_to_uid=5", "squash_to_gid=7",
    "squash_to_uid=5,squash_to_root", f"squash_to_uid=5,squash_to_gid=7,{MAPPED}",
])
def test_the_same_as_with_fuse_overlayfs(place: Path, mount: Callable[..., Mounted], options: str) -> None:
    beside(place, mount, options, make_things)


def test_owners_are_mapped_and_others_are_nobody(mount: Callable[..., Mounted]) -> None:
    top = mount().path
    assert {stored: owner(top / f"of-{stored}") for stored in STORED} == {
        stored: (shown(stored), shown(stored)) for stored in STORED
    }
    assert owner(top / "link") == (shown(5), shown(6))
    with os.scandir(top) as listed:
        assert all(entry.stat(follow_symlinks=False).st_uid == (top / entry.name).lstat().st_uid for entry in listed)


def test_permissions_are_those_of_the_owners_that_are_shown(mount: Callable[..., Mounted]) -> None:
    top = mount().path
    for stored in (0, 5, 1000):
        path = top / f"of-{stored}"
        assert acting_as(shown(stored), path.read_text) == "content"
        assert acting_as(stored or 5, path.read_text) == errno.EACCES
        assert acting_as(NOBODY, path.read_text) == errno.EACCES
        assert acting_as(shown(stored), partial(path.chmod, 0o644)) is None
    assert acting_as(5, lambda: (top / "of-1").chmod(0o777)) == errno.EPERM


def test_an_object_belongs_to_the_id_that_the_layers_have_for_its_maker(
    place: Path, mount: Callable[..., Mounted]
) -> None:
    mounted = mount()
    path = mounted.path / "new"
    assert acting_as(110004, partial(path.write_text, "x")) == 1
    assert owner(path) == (110004, 110004)
    assert owner(place / "upper/new") == (5, 5)
    os.unlink(mounted.path / "of-5")
    again = mounted.path / "of-5"  # over a whiteout
    assert acting_as(1000, again.mkdir) is None
    assert owner(again) == (1000, 1000)
    assert owner(place / "upper/of-5") == (0, 0)
    mounted.remount()
    assert (owner(path), owner(again)) == ((110004, 110004), (1000, 1000))
    mounted.unmount()
    assert owners(mount("").path)["new"] == (5, 5)


def test_a_file_without_a_name_too(place: Path, mount: Callable[..., Mounted]) -> None:
    top = mount(f"{MAPPED},binding=direct").path

    def make() -> tuple[int, int]:
        fd = os.open(top, os.O_TMPFILE | os.O_WRONLY, 0o600)
        os.link(str(fd), top / "named", src_dir_fd=os.open("/proc/self/fd", os.O_PATH), follow_symlinks=True)
        return os.fstat(fd).st_uid, os.fstat(fd).st_gid

    assert acting_as(110004, make) == (110004, 110004)
    assert owner(top / "named") == (110004, 110004)
    assert owner(place / "upper/named") == (5, 5)


def test_a_set_gid_directory_hands_its_group_on(place: Path, mount: Callable[..., Mounted]) -> None:
    top = mount().path
    (top / "shared").mkdir()
    os.chown(top / "shared", 1000, 110004)
    (top / "shared").chmod(0o2777)
    for call in ((top / "shared/file").touch, (top / "shared/dir").mkdir):
        assert acting_as(110000, call) is None
    assert owner(top / "shared/file") == owner(top / "shared/dir") == (110000, 110004)
    assert owner(place / "upper/shared/file") == (1, 5)
    assert (top / "shared/dir").stat().st_mode & 0o2000


def test_copy_up_keeps_the_ids_of_the_layer(place: Path, mount: Callable[..., Mounted]) -> None:
    mounted = mount()
    for stored in STORED:
        os.utime(mounted.path / f"of-{stored}")
        assert owner(place / f"upper/of-{stored}") == (stored, stored)
        assert owner(mounted.path / f"of-{stored}") == (shown(stored), shown(stored))


@pytest.mark.parametrize(("uid", "gid"), [(5, -1), (-1, 5), (5, 5), (NOBODY, -1), (0, -1)])
def test_nothing_is_given_to_ids_that_are_not_mapped(
    place: Path, mount: Callable[..., Mounted], uid: int, gid: int
) -> None:
    """As the kernel has it for mounts with mapped ids; fuse-overlayfs gives it to nobody."""
    top = mount().path
    assert refused(os.chown, top / "of-5", uid, gid) == errno.EINVAL
    assert owner(top / "of-5") == (shown(5), shown(5))
    assert not (place / "upper/of-5").exists()


def test_users_who_are_not_mapped_make_nothing(place: Path, mount: Callable[..., Mounted]) -> None:
    """EOVERFLOW as vfs_create() has it; root of the mounter may, for who prepares a container isn't in its map."""
    top = mount().path
    for call in ((top / "new").touch, (top / "new").mkdir, lambda: os.mkfifo(top / "new")):
        assert acting_as(5, call) == errno.EOVERFLOW
        assert acting_as(1000, call, gid=5) == errno.EOVERFLOW
    assert not (top / "new").exists()
    (top / "prepared").touch()
    assert owner(place / "upper/prepared") == (NOBODY, NOBODY)


def test_ids_in_access_control_lists_are_mapped(place: Path, mount: Callable[..., Mounted]) -> None:
    lower = place / "lower"
    os.setxattr(lower / "of-0", ACCESS, acl((USER, 5), (USER, 70000), (GROUP, 7)))
    mounted = mount()
    path = mounted.path / "of-0"
    assert os.getxattr(path, ACCESS) == acl((USER, shown(5)), (GROUP, shown(7)))
    assert acting_as(shown(5), path.read_text) == "content"
    assert acting_as(5, path.read_text) == errno.EACCES
    os.utime(path)
    assert os.getxattr(place / "upper/of-0", ACCESS) == os.getxattr(lower / "of-0", ACCESS)
    os.setxattr(path, ACCESS, acl((USER, shown(9))))
    assert os.getxattr(place / "upper/of-0", ACCESS) == acl((USER, 9))
    mounted.remount()
    assert os.getxattr(path, ACCESS) == acl((USER, shown(9)))
    assert acting_as(shown(9), path.read_text) == "content"
    for who in ((USER, 5), (GROUP, 5)):
        assert refused(os.setxattr, path, ACCESS, acl(who)) == errno.EINVAL


def test_default_access_control_lists_are_handed_on(place: Path, mount: Callable[..., Mounted]) -> None:
    top = mount().path
    (top / "dir").mkdir()
    (top / "dir").chmod(0o777)
    os.setxattr(top / "dir", DEFAULT, acl((USER, shown(5))))
    assert os.getxattr(top / "dir", DEFAULT) == acl((USER, shown(5)))
    assert acting_as(1000, partial((top / "dir/file").touch, 0o660), umask=0) is None
    assert os.getxattr(top / "dir/file", ACCESS) == acl((USER, shown(5)))
    assert os.getxattr(place / "upper/dir/file", ACCESS) == acl((USER, 5))


def test_an_id_mapped_layer_is_not_mapped_twice(place: Path, mount: Callable[..., Mounted]) -> None:
    """Some versions of Podman map the layers and ask for it as well; fuse-overlayfs shows nobody then."""
    lower = place / "lower"
    os.setxattr(lower / "of-0", ACCESS, acl((USER, 5)))
    (lower / "of-70000").chmod(0o644)
    id_map(lower, 0, 100000, 65536)
    mounted = mount("uidmapping=:0:100000:65536,gidmapping=:0:100000:65536")
    top = mounted.path
    assert owner(top / "of-5") == (100005, 100005)
    os.utime(top / "of-5")
    os.utime(top / "of-0")
    assert owner(top / "of-5") == (100005, 100005)
    assert owner(place / "upper/of-5") == (5, 5)
    assert os.getxattr(top / "of-0", ACCESS) == acl((USER, 100005))
    assert os.getxattr(place / "upper/of-0", ACCESS) == acl((USER, 5))
    assert owner(top / "of-70000") == (NOBODY, NOBODY)
    assert refused(os.rename, top / "of-70000", top / "elsewhere") == errno.EOVERFLOW
    mounted.unmount()
    mounts.umount2(os.fsencode(lower))


def test_a_map_that_maps_an_id_twice_is_refused(mount: Callable[..., Mounted]) -> None:
    for rows in ("0:0:10:5:20:10", "0:0:10:20:9:1"):
        with pytest.raises(AssertionError, match="uidmapping maps an id twice"):
            mount(f"uidmapping={rows}")
