"""Who may do what, as ordinary users see it: the kernel checks, by the attributes that we tell it."""

import os
import stat
import struct
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion, Union, as_user
from tests.support import needs

pytestmark = needs.root

OWNER, FRIEND, STRANGER, GROUP = 2001, 2002, 2003, 2100
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP_ENTRY, MASK, OTHER = 1, 2, 4, 8, 16, 32
NO_ID = 0xFFFFFFFF

READ = "open(sys.argv[1]).read()"
WRITE = "open(sys.argv[1], 'r+').write('x')"
CREATE = "open(sys.argv[1], 'x')"
UNLINK = "os.unlink(sys.argv[1])"


def acl(*entries: tuple[int, int, int]) -> bytes:
    """The value of an ACL xattr: (tag, permissions, id) in the order the kernel wants."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, who) for tag, perm, who in entries)


def fill(lower: Path) -> None:
    for name, mode in (("private", 0o600), ("shared", 0o664), ("public", 0o644), ("suid", 0o6777)):
        path = lower / name
        path.write_text("content")
        os.chown(path, OWNER, GROUP)
        path.chmod(mode)
    for name, mode in (("closed", 0o700), ("sticky", 0o1777), ("setgid", 0o2777)):
        (lower / name).mkdir()
        (lower / name / "file").write_text("content")
        os.chown(lower / name, OWNER, GROUP)
        (lower / name).chmod(mode)


@pytest.fixture
def union(make_union: MakeUnion) -> Union:
    return make_union(fill)


@pytest.mark.parametrize(("name", "action", "allowed"), [
    ("private", READ, {OWNER}),
    ("private", WRITE, {OWNER}),
    ("shared", READ, {OWNER, FRIEND, STRANGER}),
    ("shared", WRITE, {OWNER, FRIEND}),
    ("public", WRITE, {OWNER}),
    ("closed/file", READ, {OWNER}),
    ("closed/new", CREATE, {OWNER}),
    ("new", CREATE, set()),
    ("public", UNLINK, set()),
    ("public", "os.chmod(sys.argv[1], 0o666)", {OWNER}),
    ("public", "os.chown(sys.argv[1], 2003, -1)", set()),
    ("public", "os.utime(sys.argv[1], ns=(1, 1))", {OWNER}),
    ("public", "os.truncate(sys.argv[1], 0)", {OWNER}),
    ("public", "os.setxattr(sys.argv[1], 'user.a', b'b')", {OWNER}),
    ("public", "os.setxattr(sys.argv[1], 'trusted.a', b'b')", set()),
])
def test_who_may(union: Union, name: str, action: str, allowed: set[int]) -> None:
    """FRIEND is in the group of the files by a supplementary group; OWNER goes last, as it changes things."""
    refusals = {
        STRANGER: as_user(STRANGER, action, union.top / name),
        FRIEND: as_user(FRIEND, action, union.top / name, groups=(GROUP,)),
        OWNER: as_user(OWNER, action, union.top / name),
    }
    assert {user for user, refusal in refusals.items() if not refusal} == allowed
    assert all("Permission" in text or "not permitted" in text for text in refusals.values() if text)


def test_the_same_before_and_after_copy_up(union: Union) -> None:
    before = [bool(as_user(who, READ, union.top / "private")) for who in (OWNER, STRANGER)]
    os.utime(union.top / "private")
    assert (union.upper / "private").exists()
    assert [bool(as_user(who, READ, union.top / "private")) for who in (OWNER, STRANGER)] == before == [False, True]


def test_new_objects_belong_to_who_makes_them(union: Union) -> None:
    script = """
os.umask(0o027)
os.chdir(sys.argv[1])
open("made", "x"); os.mkdir("dir"); os.symlink("x", "link"); os.mkfifo("fifo", 0o666)
"""
    top = union.top / "sticky"
    assert as_user(STRANGER, script, top, gid=GROUP) == ""
    made = {name: os.lstat(top / name) for name in ("made", "dir", "link", "fifo")}
    assert {(st.st_uid, st.st_gid) for st in made.values()} == {(STRANGER, GROUP)}
    assert [made[name].st_mode & 0o777 for name in ("made", "dir", "fifo")] == [0o640, 0o750, 0o640]


def test_a_setgid_directory_hands_its_group_down(union: Union) -> None:
    script = "os.chdir(sys.argv[1]); open('made', 'x'); os.mkdir('dir')"
    assert as_user(STRANGER, script, union.top / "setgid") == ""
    assert os.stat(union.top / "setgid/made").st_gid == GROUP
    directory = os.stat(union.top / "setgid/dir")
    assert (directory.st_gid, directory.st_mode & stat.S_ISGID) == (GROUP, stat.S_ISGID)


def test_in_a_sticky_directory_only_the_owner_removes(union: Union) -> None:
    path = union.top / "sticky/mine"
    assert as_user(FRIEND, CREATE, path) == ""
    assert "not permitted" in as_user(STRANGER, UNLINK, path)
    assert "not permitted" in as_user(STRANGER, "os.rename(sys.argv[1], sys.argv[1] + '2')", path)
    assert as_user(FRIEND, UNLINK, path) == ""


@pytest.mark.parametrize("action", [WRITE, "os.truncate(sys.argv[1], 3)", "open(sys.argv[1], 'w')"])
def test_a_strangers_change_takes_set_id_bits_away(union: Union, action: str) -> None:
    assert as_user(STRANGER, action, union.top / "suid") == ""
    assert oct(os.stat(union.top / "suid").st_mode & 0o7777) == oct(0o777)
    assert oct((union.upper / "suid").stat().st_mode & 0o7777) == oct(0o777)


def test_roots_write_keeps_set_id_bits_and_a_change_of_owner_does_not(union: Union) -> None:
    with open(union.top / "suid", "r+") as file:
        file.write("x")
    assert os.stat(union.top / "suid").st_mode & 0o7777 == 0o6777
    os.chown(union.top / "suid", FRIEND, -1)
    assert os.stat(union.top / "suid").st_mode & 0o7777 == 0o777


def test_a_strangers_write_takes_capabilities_away(union: Union) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr(union.top / "suid", "security.capability", capability)
    assert as_user(STRANGER, WRITE, union.top / "suid") == ""
    assert "security.capability" not in os.listxattr(union.top / "suid")


@pytest.mark.uses("POSIX_ACL")
def test_an_acl_lets_in_whom_it_names(union: Union) -> None:
    value = acl((USER_OBJ, 6, NO_ID), (USER, 4, FRIEND), (GROUP_OBJ, 0, NO_ID), (MASK, 4, NO_ID), (OTHER, 0, NO_ID))
    path = union.top / "private"
    os.setxattr(path, ACCESS, value)
    assert as_user(FRIEND, READ, path) == ""
    assert "Permission" in as_user(FRIEND, WRITE, path)
    assert "Permission" in as_user(STRANGER, READ, path)
    assert os.stat(path).st_mode & 0o777 == 0o640, "the mask shows as the group's bits"
    assert os.getxattr(union.upper / "private", ACCESS) == value
    path.chmod(0o600)
    assert "Permission" in as_user(FRIEND, READ, path), "chmod sets the mask"


@pytest.mark.uses("POSIX_ACL")
def test_an_acl_of_a_lower_layer_counts(make_union: MakeUnion) -> None:
    value = acl((USER_OBJ, 6, NO_ID), (USER, 6, FRIEND), (GROUP_OBJ, 0, NO_ID), (MASK, 6, NO_ID), (OTHER, 0, NO_ID))

    def fill_with_acl(lower: Path) -> None:
        fill(lower)
        os.setxattr(lower / "private", ACCESS, value)

    union = make_union(fill_with_acl)
    assert as_user(FRIEND, WRITE, union.top / "private") == ""
    assert os.getxattr(union.upper / "private", ACCESS) == value
    assert "Permission" in as_user(STRANGER, READ, union.top / "private")


def test_without_acls_they_neither_show_nor_count(make_union: MakeUnion) -> None:
    union = make_union(fill, "noacl")
    with pytest.raises(OSError, match="not supported"):
        os.setxattr(union.top / "private", ACCESS, acl((USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID)))


def test_xattrs_are_kept_listed_and_removed(union: Union) -> None:
    path = union.top / "public"
    assert os.listxattr(path) == []
    os.setxattr(path, "user.empty", b"")
    os.setxattr(path, "user.large", bytes(range(256)) * 8)
    assert sorted(os.listxattr(path)) == ["user.empty", "user.large"]
    assert os.getxattr(path, "user.empty") == b""
    assert os.getxattr(path, "user.large") == bytes(range(256)) * 8
    os.removexattr(path, "user.empty")
    assert os.listxattr(path) == ["user.large"]
    for missing in (lambda: os.getxattr(path, "user.empty"), lambda: os.removexattr(path, "user.empty")):
        with pytest.raises(OSError, match="No data"):
            missing()


def test_trusted_xattrs_are_hidden_from_ordinary_users(union: Union) -> None:
    os.setxattr(union.top / "public", "trusted.mine", b"1")
    assert "trusted.mine" in os.listxattr(union.top / "public")
    listing = "assert os.listxattr(sys.argv[1]) == [], os.listxattr(sys.argv[1])"
    assert as_user(OWNER, listing, union.top / "public") == ""


def test_without_xattrs_the_kernel_asks_once(make_union: MakeUnion) -> None:
    union = make_union(fill, "debug,noxattrs")
    with union.requests() as counted:
        for _ in range(3):
            with pytest.raises(OSError, match="not supported"):
                os.getxattr(union.top / "public", "user.a")
    assert counted["getxattr"] == 1


def test_groups_of_a_caller_count_for_what_it_makes_as_on_any_filesystem(make_union: MakeUnion) -> None:
    """A set-group-id bit is kept if the group, here of the directory, is one of the caller's, be it a further one."""
    union = make_union(lambda lower: (lower / "dir").mkdir())
    plain = union.lower.with_name("plain")
    plain.mkdir()
    script = """
os.umask(0)
os.close(os.open(sys.argv[1] + "/file", os.O_CREAT | os.O_WRONLY, 0o2755))
os.mkdir(sys.argv[1] + "/sub", 0o755)
os.mknod(sys.argv[1] + "/fifo", 0o010000 | 0o2775)
"""
    for groups in ((), (4321,)):
        made = []
        for directory in (union.top / "dir", plain):
            os.chown(directory, 0, 4321)
            directory.chmod(0o2777)
            assert as_user(1234, script, directory, groups=groups) == ""
            made.append(
                [(path.name, oct(path.stat().st_mode), path.stat().st_gid) for path in sorted(directory.iterdir())]
            )
            for path in directory.iterdir():
                path.rmdir() if path.is_dir() else path.unlink()
        assert made[0] == made[1], groups
