"""Owners and modes kept in xattrs: xattr_permissions, and layers of others that have them so."""

import errno
import os
import stat
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.ids.conftest import acting_as, fuse_overlayfs, owner, owner_and_mode, refused
from tests.support import needs
from tests.support.mounts import Mounted, MountFactory

pytestmark = needs.root

PRIVILEGED = "security.fuseoverlayfs.override_stat"
USER = "user.fuseoverlayfs.override_stat"
CONTAINERS = "user.containers.override_stat"
ACCESS = "system.posix_acl_access"
WORDS = {PRIVILEGED: 1, USER: 2}


def mark(path: Path, key: str, value: str) -> None:
    os.setxattr(path, key, value.encode(), follow_symlinks=False)


def what(path: Path) -> tuple[int, int, int]:
    """Owner, group and permissions."""
    st = path.lstat()
    return st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)


def acl(owner: int, user: int, bits: int) -> bytes:
    """Permissions `bits` for `user`, `owner` for the owner, none for others."""
    no_id = 0xFFFFFFFF
    entries = [(1, owner, no_id), (2, bits, user), (4, 0, no_id), (16, 7, no_id), (32, 0, no_id)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


class Stage:
    """A lower layer with an xattr for each owner, under the key it is made for; and how it is mounted."""

    def __init__(self, place: Path, mount: MountFactory) -> None:
        self.lower, self.upper, self.at = place / "lower", place / "upper", place / "merged"
        self._mount = mount

    def fill(self, key: str) -> None:
        mark(self.lower, key, "3:4:40777")
        for name, value in (("file", "10:11:4711"), ("padded", "10:11:0640"), ("typed", "12:13:100600:file")):
            (self.lower / name).write_text("content")
            mark(self.lower / name, key, value)
        (self.lower / "dir").mkdir(0o700)
        mark(self.lower / "dir", key, "20:21:2775")

    def mount(self, options: str = "") -> Mounted:
        return self._mount([self.lower], self.upper, at=self.at, options=options)


@pytest.fixture
def stage(place: Path, union_mount: MountFactory) -> Stage:
    return Stage(place, union_mount)


@pytest.mark.parametrize("key", [PRIVILEGED, USER, CONTAINERS])
def test_a_layer_whose_root_has_the_xattr_is_read_by_it(stage: Stage, key: str) -> None:
    stage.fill(key)
    top = stage.mount().path
    assert what(top / "file") == (10, 11, 0o4711)
    assert what(top / "padded") == (10, 11, 0o640)
    assert what(top / "typed") == (12, 13, 0o600)
    assert what(top / "dir") == (20, 21, 0o2775)
    assert acting_as(10, (top / "padded").read_text) == "content"
    assert acting_as(14, (top / "padded").read_text) == errno.EACCES


def test_others_are_not(stage: Stage) -> None:
    (stage.lower / "file").write_text("content")
    mark(stage.lower / "file", CONTAINERS, "10:11:4711")
    assert what(stage.mount().path / "file") == (0, 0, 0o644)


def test_a_value_that_cannot_be_understood_is_as_none(stage: Stage) -> None:
    mark(stage.lower, CONTAINERS, "0:0:755")
    values = ["", "1:2", "a:b:755", "1:2:999", "1:2:755x", "9" * 1000 + ":0:755"]
    for index, value in enumerate(values):
        (stage.lower / str(index)).touch()
        mark(stage.lower / str(index), CONTAINERS, value)
    top = stage.mount().path
    assert {what(top / str(index)) for index in range(len(values))} == {(0, 0, 0o644)}


def test_an_owner_that_is_none_is_nobody(stage: Stage) -> None:
    """fuse-overlayfs writes -1 for what chown(2) was to leave as it is."""
    for name in (".", "file"):
        (stage.lower / name).touch()
        mark(stage.lower / name, CONTAINERS, "-1:4294967295:755")
    assert what(stage.mount().path / "file") == (65534, 65534, 0o755)


def test_kinds_that_a_regular_file_stands_for(stage: Stage) -> None:
    mark(stage.lower, CONTAINERS, "0:0:755")
    kinds = {"char-1-3": stat.S_IFCHR, "block-7-0": stat.S_IFBLK, "pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK}
    for kind in kinds:
        (stage.lower / kind).touch()
        mark(stage.lower / kind, CONTAINERS, f"5:5:600:{kind}")
    top = stage.mount().path

    def seen(root: Path) -> dict[str, Any]:
        return {kind: (stat.S_IFMT((root / kind).lstat().st_mode), (root / kind).lstat().st_rdev) for kind in kinds}

    wanted = {"char-1-3": os.makedev(1, 3), "block-7-0": os.makedev(7, 0), "pipe": 0, "socket": 0}
    assert seen(top) == {kind: (kinds[kind], device) for kind, device in wanted.items()}
    for kind in kinds:
        os.utime(top / kind)
    assert seen(stage.upper) == seen(top)  # an upper that doesn't need the xattr is given the real thing


@pytest.mark.parametrize("key", [PRIVILEGED, USER, CONTAINERS])
def test_users_neither_see_nor_set_it(stage: Stage, key: str) -> None:
    stage.fill(key)
    top = stage.mount().path
    assert not [name for name in os.listxattr(top / "file") if "override" in name]
    assert refused(os.getxattr, top / "file", key) == errno.ENODATA
    assert refused(mark, top / "file", key, "0:0:4755") == errno.EPERM
    assert refused(os.removexattr, top / "file", key) == errno.ENODATA


@pytest.mark.parametrize("key", [USER, PRIVILEGED])
def test_what_is_made_is_the_mounters_and_told_in_an_xattr(stage: Stage, key: str) -> None:
    mounted = stage.mount(f"xattr_permissions={WORDS[key]}")
    top = mounted.path

    def make() -> None:
        os.umask(0o027)
        (top / "file").write_text("x")
        (top / "dir").mkdir()
        os.close(os.open(top / "suid", os.O_CREAT, 0o4755))

    assert acting_as(1000, make, gid=1001) is None
    wanted = {"file": (1000, 1001, 0o640), "dir": (1000, 1001, 0o750), "suid": (1000, 1001, 0o4750)}
    for _ in range(2):
        assert {name: what(top / name) for name in wanted} == wanted
        mounted.remount()
    assert {name: owner(stage.upper / name) for name in wanted} == dict.fromkeys(wanted, (0, 0))
    assert {name: os.getxattr(stage.upper / name, key) for name in wanted} == {
        "file": b"1000:1001:640", "dir": b"1000:1001:750", "suid": b"1000:1001:4750"
    }


def test_a_file_without_a_name_too(stage: Stage) -> None:
    mounted = stage.mount("xattr_permissions=2,binding=direct")

    def make() -> int:
        fd = os.open(mounted.path, os.O_TMPFILE | os.O_WRONLY, 0o640)
        os.link(str(fd), mounted.path / "named", src_dir_fd=os.open("/proc/self/fd", os.O_PATH), follow_symlinks=True)
        return os.fstat(fd).st_uid

    assert acting_as(1000, make) == 1000
    mounted.remount()
    assert what(mounted.path / "named") == (1000, 1000, 0o640)
    assert os.getxattr(stage.upper / "named", USER) == b"1000:1000:640"


def test_nothing_beneath_is_set_id_or_closed_to_the_mounter(stage: Stage) -> None:
    (stage.lower / "suid").touch()
    os.chown(stage.lower / "suid", 5, 5)
    (stage.lower / "suid").chmod(0o6755)
    top = stage.mount("xattr_permissions=2").path
    os.utime(top / "suid")
    (top / "closed").mkdir(0)
    (top / "closed").chmod(0o3000)
    assert what(top / "suid") == (5, 5, 0o6755)
    assert what(stage.upper / "suid") == (0, 0, 0o755)
    assert what(top / "closed") == (0, 0, 0o3000)
    assert what(stage.upper / "closed") == (0, 0, 0o700)


def test_chown_and_chmod_change_the_xattr_alone(stage: Stage) -> None:
    mounted = stage.mount("xattr_permissions=2")
    path = mounted.path / "file"
    path.touch()
    path.chmod(0o6755)
    os.chown(path, 5, -1)
    assert what(path) == (5, 0, 0o755)  # chown(2) takes set-id bits away
    os.chown(path, -1, 6)
    path.chmod(0o4604)
    assert acting_as(5, lambda: path.chmod(0o600)) is None
    assert acting_as(7, lambda: path.chmod(0o666)) == errno.EPERM
    mounted.remount()
    assert what(path) == (5, 6, 0o600)
    assert owner(stage.upper / "file") == (0, 0)


def test_a_strangers_write_takes_set_id_bits_away(stage: Stage) -> None:
    mounted = stage.mount("xattr_permissions=2")
    for name in ("written", "cut"):
        (mounted.path / name).write_text("content")
        (mounted.path / name).chmod(0o6777)
    mounted.remount()
    acting_as(1000, lambda: (mounted.path / "written").open("r+").write("x"))
    acting_as(1000, lambda: os.truncate(mounted.path / "cut", 1))
    for name in ("written", "cut"):
        assert what(mounted.path / name) == (0, 0, 0o777)


def test_set_gid_directories_hand_their_group_on(stage: Stage) -> None:
    top = stage.mount("xattr_permissions=2").path
    (top / "shared").mkdir()
    os.chown(top / "shared", 5, 6)
    (top / "shared").chmod(0o2777)

    def make() -> None:
        (top / "shared/file").touch()
        (top / "shared/dir").mkdir()
        (top / "shared/gone").rmdir()
        (top / "shared/gone").mkdir()

    (top / "shared/gone").mkdir()
    assert acting_as(1000, make) is None
    assert owner(top / "shared/file") == owner(top / "shared/dir") == owner(top / "shared/gone") == (1000, 6)
    assert what(top / "shared/dir")[2] & stat.S_ISGID


def test_an_access_control_list_and_the_mode_agree(stage: Stage) -> None:
    mounted = stage.mount("xattr_permissions=2")
    path = mounted.path / "file"
    path.write_text("content")
    os.chown(path, 5, 6)
    path.chmod(0o4600)
    os.setxattr(path, ACCESS, acl(0o4, 1000, 0o6))
    for _ in range(2):
        assert what(path) == (5, 6, 0o4470)
        assert os.getxattr(path, ACCESS) == acl(0o4, 1000, 0o6)
        assert acting_as(1000, path.read_text) == "content"
        assert acting_as(5, lambda: path.write_text("x")) == errno.EACCES
        mounted.remount()
    path.chmod(0o500)
    assert acting_as(1000, path.read_text) == errno.EACCES


def test_copy_up_between_layers_of_either_kind(stage: Stage, union_mount: MountFactory, place: Path) -> None:
    stage.fill(CONTAINERS)
    plain = stage.mount()
    for name in ("file", "padded", "dir"):
        os.utime(plain.path / name)
    assert what(stage.upper / "file") == (10, 11, 0o4711)
    assert what(stage.upper / "dir") == (20, 21, 0o2775)
    assert CONTAINERS not in os.listxattr(stage.upper / "file")
    plain.unmount()
    again = union_mount([stage.upper, stage.lower], place / "second", options="xattr_permissions=1")
    for name in ("file", "typed", "dir"):
        os.utime(again.path / name)
    assert os.getxattr(place / "second/file", PRIVILEGED) == b"10:11:4711"
    assert os.getxattr(place / "second/typed", PRIVILEGED) == b"12:13:600:file"
    assert what(again.path / "dir") == (20, 21, 0o2775)
    assert what(place / "second/file") == (0, 0, 0o711)


def test_an_upper_goes_on_as_it_was_begun(stage: Stage) -> None:
    mark(stage.upper, CONTAINERS, "0:0:755")
    top = stage.mount("xattr_permissions=2").path
    (top / "new").touch()
    assert CONTAINERS in os.listxattr(stage.upper / "new")


@pytest.mark.parametrize("map_", ["", ",uidmapping=0:1000:1:1:110000:65536,gidmapping=0:1000:1:1:110000:65536"])
def test_owners_in_the_xattr_are_those_of_the_layers(stage: Stage, map_: str) -> None:
    stage.fill(CONTAINERS)
    top = stage.mount(f"xattr_permissions=2{map_}").path
    assert owner(top / "file") == ((110009, 110010) if map_ else (10, 11))
    os.chown(top / "file", 110020, 110021)
    assert os.getxattr(stage.upper / "file", USER) == (b"21:22:711" if map_ else b"110020:110021:711")
    assert owner(top / "file") == (110020, 110021)
    if map_:
        assert refused(os.chown, top / "file", 5, 5) == errno.EINVAL


@pytest.mark.parametrize("word", [1, 2])
def test_fuse_overlayfs_and_we_read_what_the_other_wrote(stage: Stage, place: Path, word: int) -> None:
    (stage.lower / "copied").touch()
    os.chown(stage.lower / "copied", 5, 6)
    (stage.lower / "copied").chmod(0o640)

    def change(root: Path) -> None:
        (root / "made").mkdir()
        (root / "made").chmod(0o2770)
        (root / "made/file").touch()
        for path in (root / "made", root / "made/file"):
            os.chown(path, 7, 8)
        (root / "made/file").chmod(0o604)
        os.chown(root / "copied", 9, -1)

    def seen(root: Path) -> list[tuple[int, int, str]]:
        return [owner_and_mode(root / name) for name in ("copied", "made", "made/file", ".")]

    options = f"xattr_permissions={word}"
    mounted = stage.mount(options)
    change(mounted.path)
    ours = seen(mounted.path)
    mounted.unmount()
    with fuse_overlayfs(stage.lower, stage.upper, place / "peer", options) as peer:
        assert seen(peer) == ours
    with fuse_overlayfs(stage.lower, place / "peer-upper", place / "peer", options) as peer:
        change(peer)
        theirs = seen(peer)
    stage.upper = place / "peer-upper"
    assert seen(stage.mount(options).path) == theirs


def test_an_upper_that_cannot_hold_it_is_named(stage: Stage, place: Path) -> None:
    (place / "ram").mkdir()
    stage.upper = place / "ram/upper"
    subprocess.run(["mount", "-t", "ramfs", "ramfs", place / "ram"], check=True)
    try:
        with pytest.raises(AssertionError, match="xattr_permissions needs a filesystem and a user that can set"):
            stage.mount("xattr_permissions=2")
    finally:
        subprocess.run(["umount", place / "ram"], check=True)
