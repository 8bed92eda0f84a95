"""The command line of the mount program, read without looking at anything but the arguments."""

import pytest

from unionfs.cli.options import MountOptions, OptionError, parse
from unionfs.fuse.kernel import FOREVER_S
from unionfs.linux import mounts


def read(options: str, *more: str) -> MountOptions:
    """Parse `-o options` with a mount point."""
    return read_all("-o", options, *more, "/mnt")


def read_all(*arguments: str) -> MountOptions:
    wanted = parse([argument.encode() for argument in arguments])
    assert isinstance(wanted, MountOptions)
    return wanted


def complaint(*arguments: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse([argument.encode() for argument in arguments])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_of_the_program() -> None:
    asked = read("lowerdir=/a:/b")
    assert asked.union.lower == (b"/a", b"/b")
    assert (asked.union.upper, asked.union.workdir, asked.union.dialect) == (None, None, "auto")
    assert (asked.mountpoint, asked.settings.source, asked.settings.attributes) == (b"/mnt", b"pyunionfs", 0)
    assert (asked.foreground, asked.debug, asked.settings.timeout_s) == (False, False, FOREVER_S)


@pytest.mark.parametrize("options", [
    "lowerdir=/a:/b,upperdir=/u,workdir=/w,,volatile",
    ",lowerdir=/a:/b,,,upperdir=/u,workdir=/w,volatile,",
    "lowerdir=:/a:/b:,upperdir=/u,workdir=/w,fsync=0",
    'lowerdir="/a:/b",upperdir="/u",workdir=/w,volatile=1',
    "lowerdir=/x,upperdir=/x,lowerdir=/a:/b,upperdir=/u,workdir=/w,volatile",
    "lowerdir+=/a,upperdir=/u,lowerdir+=/b,workdir=/w,volatile",
])
def test_the_same_stack_in_many_forms(options: str) -> None:
    union = read(options).union
    assert (union.lower, union.upper, union.workdir, union.volatile) == ((b"/a", b"/b"), b"/u", b"/w", True)


@pytest.mark.parametrize(("written", "meant"), [
    (r"/co\:lon", "/co:lon"),
    (r"/com\,ma", "/com,ma"),
    (r"/back\\slash", r"/back\slash"),
    (r"/back\slash", r"/back\slash"),
    (r"/end\\", "/end\\"),
    (r"/\\\:\,", r"/\:,"),
    ('/a"b"', '/a"b"'),
    (r"\"quoted\"", '"quoted"'),
    ("/new\nline", "/new\nline"),
    ("/a=b", "/a=b"),
])
def test_escapes_in_paths(written: str, meant: str) -> None:
    assert read(f"volatile,lowerdir={written}").union.lower == (meant.encode(),)
    assert read(f"lowerdir=/a:{written}:/b").union.lower == (b"/a", meant.encode(), b"/b")
    assert read(f"lowerdir=/a,upperdir={written}").union.upper == meant.encode()


def test_a_quoted_value_keeps_its_commas() -> None:
    asked = read('context="system_u:object_r:t:s0:c1,c2",lowerdir=/a')
    assert asked.settings.kernel_options == ((b"context", b"system_u:object_r:t:s0:c1,c2"),)
    assert asked.union.lower == (b"/a",)


def test_words_of_the_vfs_and_their_opposites() -> None:
    attributes = read("lowerdir=/a,ro,nosuid,nodev,noexec,noatime,exec").settings.attributes
    assert attributes == (
        mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOATIME
    )
    assert read("ro,nosuid,nodev,rw,suid,dev,lowerdir=/a").settings.attributes == 0


@pytest.mark.parametrize("words", [
    "defaults,_netdev,nofail,x-systemd.requires=foo,X-mount.mkdir,user,noauto,comment=mine",
    "threaded=0,fast_ino=1,max_idle_threads=4,clone_fd,writeback=1,xino=auto,xattr_permissions=0,plugins=,squash_to_root=off",
    "index=on,nfs_export=off,lower_io=auto,binding=auto,relatime,default_permissions",
])
def test_words_that_change_nothing(words: str) -> None:
    assert read(f"{words},lowerdir=/a") == read("lowerdir=/a")


def test_behaviour() -> None:
    asked = read("lowerdir=/a,dialect=oci,redirect_dir=off,userxattr,noxattrs,noacl,static_nlink,timeout=1.5,fsname=n")
    union = asked.union
    assert (union.dialect, union.redirect_dir, union.userxattr) == ("oci", False, True)
    assert (union.xattrs, union.acl, union.static_nlink) == (False, False, True)
    assert (asked.settings.timeout_s, asked.settings.source) == (1.5, b"n")


def test_what_carries_requests() -> None:
    assert (read("lowerdir=/a").settings.binding, read("lowerdir=/a").settings.lower_io) == ("auto", "auto")
    asked = read("lowerdir=/a,binding=direct,lower_io=shared").settings
    assert (asked.binding, asked.lower_io) == ("direct", "shared")


def test_ids_as_containers_storage_writes_them() -> None:
    union = read("lowerdir=/a,uidmapping=:0:1:4242:4242:0:1,gidmapping=0:100000:65536,xattr_permissions=2").union
    assert (union.uid_map, union.gid_map) == (((0, 1, 4242), (4242, 0, 1)), ((0, 100000, 65536),))
    assert union.xattr_permissions == 2


@pytest.mark.parametrize(("options", "uid", "gid"), [
    ("squash_to_root", 0, 0), ("squash_to_uid=5", 5, None), ("squash_to_gid=7", None, 7),
    ("squash_to_uid=5,squash_to_root", 5, 0), ("squash_to_root,squash_to_uid=5", 5, 0),
    ("squash_to_uid=5,squash_to_uid=6,squash_to_gid=7", 6, 7),
])
def test_squash_to_uid_wins_over_squash_to_root(options: str, uid: int | None, gid: int | None) -> None:
    union = read(f"lowerdir=/a,{options}").union
    assert (union.squash_uid, union.squash_gid) == (uid, gid)


@pytest.mark.parametrize("arguments", [
    ["-f", "-o", "lowerdir=/a", "/mnt"], ["/mnt", "-folowerdir=/a"], ["-olowerdir=/a", "/mnt", "-f"],
])
def test_letters_may_stand_together_and_after_the_mount_point(arguments: list[str]) -> None:
    asked = read_all(*arguments)
    assert (asked.foreground, asked.debug, asked.mountpoint) == (True, False, b"/mnt")


def test_debug_means_foreground() -> None:
    for asked in (read("lowerdir=/a", "-d"), read("lowerdir=/a", "--debug"), read("lowerdir=/a,debug")):
        assert (asked.foreground, asked.debug) == (True, True)


def test_after_two_dashes_come_names_alone() -> None:
    asked = read_all("-o", "lowerdir=/a", "--", "-source", "-mnt")
    assert (asked.settings.source, asked.mountpoint) == (b"-source", b"-mnt")


def test_help_and_version_win() -> None:
    for argument in ("-h", "--help"):
        assert parse([b"-f", argument.encode()]) == "help"
    for argument in ("-V", "--version"):
        assert parse([argument.encode(), b"--nonsense"]) == "version"


@pytest.mark.parametrize(("options", "culprit"), [
    ("nonsense", "nonsense"), ("nonsense=1", "nonsense"), ("lowerdirs=/a", "lowerdirs"),
    ("metacopy=maybe", "metacopy"), ("index=off", "index"), ("nfs_export=on", "nfs_export"),
    ("binding=fast", "binding"), ("lower_io=fast", "lower_io"), ("dialect=aufs", "dialect"),
    ("redirect_dir=follow", "redirect_dir"), ("volatile=maybe", "volatile"), ("timeout=soon", "timeout"),
    ("timeout=-1", "timeout"), ("timeout=nan", "timeout"), ("upperdir=", "upperdir"), ("workdir", "workdir"),
    ("squash_to_root=maybe", "squash_to_root"), ("squash_to_uid=me", "squash_to_uid"),
    ("gidmapping=0:0", "gidmapping"), ("uidmapping=a:a:1", "uidmapping"), ("xattr_permissions=3", "xattr_permissions"),
    ("squash_to_gid", "squash_to_gid"), ("uidmapping", "uidmapping"), ("uidmapping=0:0:4294967295", "uidmapping"),
    ("plugins=/x.so", "plugins"), ("ino32_t", "ino32_t"), ("allow_root", "allow_root"), ("remount", "remount"),
    ("lowerdir=/a::/b", "lowerdir"), ("context", "context"), ("ro=1", "ro"),
])
def test_an_option_that_is_refused_is_named(options: str, culprit: str) -> None:
    assert culprit in complaint("-o", f"lowerdir=/a,{options}", "/mnt")


@pytest.mark.parametrize(("arguments", "culprit"), [
    (["-o", "lowerdir=/a"], "mount point"), (["-o", "lowerdir=/a", "a", "b", "c"], "'c'"), (["/mnt"], "lowerdir"),
    (["-o", "lowerdir=", "/mnt"], "lowerdir"), (["-o", "lowerdir=::", "/mnt"], "lowerdir"), (["/mnt", "-o"], "-o"),
    (["-z", "/mnt"], "-z"), (["-fz", "/mnt"], "-fz"), (["--foreground"], "--foreground"), (["-o", "a\nb"], r"'a\nb'"),
])
def test_a_command_line_that_is_incomplete_or_too_long(arguments: list[str], culprit: str) -> None:
    assert culprit in complaint(*arguments)
