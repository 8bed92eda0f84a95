"""The same random calls on kernel overlayfs and on our mount, compared after every one.

Both have equal copies of a random stack of layers. Compared are what each call gives or its errno; at times and in
the end the whole trees; after a remount; and when each side mounts what the other wrote.
"""

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.differential import filesystems
from tests.differential.actors import Actor, User
from tests.differential.stacks import ACLS, Thing, build, contents, modes, names, paths, prune, stacks
from tests.semantics.sidebyside import KERNEL_OPTIONS, OUR_OPTIONS, Seen, assert_same, look, next_tick_ns
from tests.support.mounts import Mounted, mount_overlay, mount_union

CALLS_MADE: Counter[str] = Counter()
"""How often each call was compared."""

Filesystem = Callable[[Path], Callable[[], object]]
"""Mounts something on a new directory, and gives what takes it away again."""

USERS = (User(0, (0,)), User(1000, (1000, 2000)), User(1001, (1001,)))
UMASK = 0
"""The FUSE of pyfuse3 applies it before we see a default ACL, which should replace it."""
MOUNTS = {"kernel": (mount_overlay, KERNEL_OPTIONS), "ours": (mount_union, OUR_OPTIONS)}
EXCHANGE, NOREPLACE = 2, 1
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10  # include/uapi/linux/falloc.h

users = st.sampled_from((0, 0, 0, 1, 2))
slots = st.integers(0, 2)
creation = st.sampled_from((os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_CREAT | os.O_TRUNC))
opening = st.sampled_from(
    (os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_RDONLY | os.O_DIRECTORY, os.O_RDWR | os.O_CREAT)
)
node_modes = st.sampled_from((0o010644, 0o140600, 0o020600, 0o100640))
xattr_flags = st.sampled_from((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE))
space_modes = st.sampled_from((0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE))
offsets = st.sampled_from((0, 1, 4000, 10_000))
ids = st.sampled_from((0, 1000, 1001, -1))
keys = st.sampled_from(("user.key", "user.other", "trusted.key", "trusted.overlay.key"))


class Side:
    """One file system under test, and the processes that use it."""

    def __init__(
        self, name: str, place: Path, layers: list[str], options: dict[str, str], upper_on: Filesystem | None
    ) -> None:
        self.name = name
        self.options = options
        self.upper_on = place / "upper-filesystem" if upper_on is not None else place
        self.unmount_upper = upper_on(self.upper_on) if upper_on is not None else None
        self.place = place
        self.layers = [place / layer for layer in layers]
        self.started_ns = next_tick_ns(place.parent)
        self.actors = [Actor(user, UMASK) for user in USERS]
        self.mounted = self.mount(name)

    def mount(self, name: str) -> Mounted:
        """Mount this side's stack as the file system `name` does."""
        mount, options = MOUNTS[name]
        upper, work = self.upper_on / "upper", self.upper_on / "work"
        return mount(self.layers, upper, workdir=work, at=self.place / "at", options=options + self.options[name])

    def look(self) -> Seen:
        """The whole tree."""
        return look(self.mounted.path, self.started_ns)

    def unmount(self) -> None:
        """Close what the actors have open, and unmount."""
        for actor in self.actors:
            actor.ask("close")
        self.mounted.unmount()

    def freeze(self) -> None:
        """Make the upper one more lower layer, and go on in an empty one."""
        self.unmount()
        layer = self.place / f"frozen{len(self.layers)}"
        (self.place / "upper").rename(layer)
        shutil.rmtree(self.place / "work")
        self.layers.insert(0, layer)
        self.mounted = self.mount(self.name)

    def close(self) -> None:
        """Unmount and end the actors."""
        try:
            self.unmount()
        finally:
            for actor in self.actors:
                actor.close()
            if self.unmount_upper is not None:
                self.unmount_upper()


class Differential(RuleBasedStateMachine):
    """What users do to a union."""

    hard_links = True
    options = ""
    """Further ones, for both sides."""
    times = True
    """Whether times of modification are compared."""
    xattrs = True
    opaque = True
    """Whether layers have opaque directories, marked by trusted.overlay.opaque."""
    wh_names = True
    """Whether names may begin with `.wh.`."""
    our_options = ""
    """Further ones for our side."""
    upper_on: Filesystem | None = None
    """The kind of filesystem that our upper is on, which then the kernel can't mount; None: that of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="pyunion-differential-"))
        self.top.chmod(0o755)
        self.sides: list[Side] = []

    @initialize(stack=stacks)
    def set_up(self, stack: list[list[Thing]]) -> None:
        layers = [f"layer{index}" for index in range(len(stack) + 1)]
        for layer, things in zip(layers, [*stack, []], strict=True):
            build(self.top / "built" / layer, [thing for thing in things if self.may_be(thing)])
        self.prune([self.top / "built" / layer for layer in layers])
        for name in MOUNTS:
            subprocess.run(["cp", "-a", self.top / "built", self.top / name], check=True)
            options = {"kernel": self.options, "ours": self.options + self.our_options}
            upper_on = type(self).upper_on if name == "ours" else None
            self.sides.append(Side(name, self.top / name, layers, options, upper_on))

    def may_be(self, thing: Thing) -> bool:
        """Whether a layer may have it."""
        return thing.kind not in self.left_out() and (self.wh_names or not _has_wh_name(thing.path))

    def left_out(self) -> set[str]:
        """Kinds of things that no layer has."""
        left_out = set() if self.hard_links else {"link"}
        left_out |= set() if self.opaque else {"opaque"}
        return left_out if self.xattrs else left_out | {"xattr", "acl", "default"}

    def prune(self, layers: list[Path]) -> None:
        """Take out the whiteouts that hide nothing."""
        again = True
        while again:
            with mount_overlay(layers, at=self.top / "pruned") as mounted:
                again = prune(layers, mounted.path)

    def teardown(self) -> None:
        try:
            if len(self.sides) == len(MOUNTS):
                self.compare_trees()
                self.compare_remounted()
        finally:
            for side in self.sides:
                side.close()
            shutil.rmtree(self.top)

    # The two file systems

    def both(self, user: int, call: str, *arguments: Any) -> None:
        """Make one call on both sides. Arguments that are tuples are paths."""
        if not self.wh_names and any(_has_wh_name(value) for value in arguments if isinstance(value, tuple)):
            return
        CALLS_MADE[call] += 1
        answers = {}
        for side in self.sides:
            root = os.fsencode(side.mounted.path)
            made = [os.path.join(root, *value) if isinstance(value, tuple) else value for value in arguments]
            kind, value = side.actors[user].ask(call, *made)
            answers[side.name] = kind, value if self.times or not isinstance(value, tuple) else value[:-1]
        assert answers["ours"] == answers["kernel"], (
            f"{call}{arguments} by {USERS[user].uid}: ours {answers['ours']}, kernel {answers['kernel']}"
        )

    def compare_trees(self) -> None:
        kernel, ours = (side.look() for side in self.sides)
        assert_same(kernel, ours, ignore=self.ignored())

    def ignored(self) -> frozenset[str]:
        """Fields of the trees that aren't compared."""
        return frozenset() if self.times else frozenset({"mtime_ns"})

    def compare_remounted(self) -> None:
        """Each side must show the same when mounted again, also by the other."""
        for side in self.sides:
            before = side.look()
            side.unmount()
            for name in MOUNTS if type(self).upper_on is None else [side.name]:
                side.mounted = side.mount(name)
                # the kernel doesn't read our count of deleted names of a lower hard link
                nlink = frozenset({"nlink"}) if (name, side.name) == ("kernel", "ours") else frozenset()
                try:
                    assert_same(before, side.look(), ignore=self.ignored() | nlink)
                except AssertionError as error:
                    raise AssertionError(f"{name} shows another tree of what {side.name} wrote: {error}") from None
                side.unmount()
            side.mounted = side.mount(side.name)

    # Looking

    @rule(user=users, call=st.sampled_from(("stat", "follow", "list", "read", "xattrs", "readlink")), path=paths)
    def look_at(self, user: int, call: str, path: tuple[bytes, ...]) -> None:
        self.both(user, call, path)

    @rule(user=users, path=paths, mask=st.integers(0, 7))
    def may_access(self, user: int, path: tuple[bytes, ...], mask: int) -> None:
        self.both(user, "access", path, mask)

    @rule(one=paths, other=paths)
    def are_the_same(self, one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
        self.both(0, "same", one, other)

    # Names

    @rule(user=users, path=paths, flags=creation, mode=modes, data=contents)
    def write(self, user: int, path: tuple[bytes, ...], flags: int, mode: int, data: bytes) -> None:
        self.both(user, "write", path, flags, mode, data)

    @rule(user=users, path=paths, mode=modes)
    def make_directory(self, user: int, path: tuple[bytes, ...], mode: int) -> None:
        self.both(user, "mkdir", path, mode)

    @rule(user=users, path=paths, mode=node_modes, minor=st.integers(0, 3))
    def make_node(self, user: int, path: tuple[bytes, ...], mode: int, minor: int) -> None:
        self.both(user, "mknod", path, mode, os.makedev(1, minor) if minor else 0)

    @rule(user=users, path=paths, content=paths)
    def make_symlink(self, user: int, path: tuple[bytes, ...], content: tuple[bytes, ...]) -> None:
        self.both(user, "symlink", os.path.join(*content), path)

    @rule(user=users, old=paths, new=paths)
    def link(self, user: int, old: tuple[bytes, ...], new: tuple[bytes, ...]) -> None:
        if self.hard_links:
            self.both(user, "link", old, new)

    @rule(user=users, call=st.sampled_from(("unlink", "rmdir")), path=paths)
    def remove(self, user: int, call: str, path: tuple[bytes, ...]) -> None:
        self.both(user, call, path)

    @rule(user=users, old=paths, new=paths, flags=st.sampled_from((0, 0, NOREPLACE, EXCHANGE)))
    def rename(self, user: int, old: tuple[bytes, ...], new: tuple[bytes, ...], flags: int) -> None:
        self.both(user, "rename", old, new, flags)

    @rule(path=paths, name=names)
    def remove_all(self, path: tuple[bytes, ...], name: bytes) -> None:
        """As rm -r does, so that directories become free to be replaced."""
        self.both(0, "unlink", (*path, name))
        self.both(0, "rmdir", path)

    # Attributes

    @rule(user=users, path=paths, mode=modes)
    def change_mode(self, user: int, path: tuple[bytes, ...], mode: int) -> None:
        self.both(user, "chmod", path, mode)

    @rule(user=users, path=paths, uid=ids, gid=ids)
    def change_owner(self, user: int, path: tuple[bytes, ...], uid: int, gid: int) -> None:
        if (uid, gid) != (-1, -1):  # root's clears set-id bits; FUSE doesn't tell it from what comes before a write
            self.both(user, "chown", path, uid, gid)

    @rule(user=users, path=paths, length=offsets)
    def truncate(self, user: int, path: tuple[bytes, ...], length: int) -> None:
        self.both(user, "truncate", path, length)

    @rule(user=users, path=paths, seconds=st.integers(0, 10**9))
    def set_times(self, user: int, path: tuple[bytes, ...], seconds: int) -> None:
        self.both(user, "utime", path, seconds * 10**9 + 7)

    @rule(user=users, path=paths, key=keys, value=contents, flags=xattr_flags)
    def set_xattr(self, user: int, path: tuple[bytes, ...], key: str, value: bytes, flags: int) -> None:
        if self.xattrs:
            self.both(user, "setxattr", path, key, value[:100], flags)

    @rule(user=users, path=paths, kind=st.sampled_from(("access", "default")), value=st.sampled_from(ACLS))
    def set_acl(self, user: int, path: tuple[bytes, ...], kind: str, value: bytes) -> None:
        if self.xattrs:
            self.both(user, "setxattr", path, f"system.posix_acl_{kind}", value, 0)

    @rule(user=users, path=paths, key=keys)
    def remove_xattr(self, user: int, path: tuple[bytes, ...], key: str) -> None:
        if self.xattrs:
            self.both(user, "removexattr", path, key)

    # Open files

    @rule(user=users, slot=slots, path=paths, flags=opening, mode=modes)
    def open(self, user: int, slot: int, path: tuple[bytes, ...], flags: int, mode: int) -> None:
        self.both(user, "open", slot, path, flags, mode)

    @rule(user=users, slot=slots, data=contents, offset=offsets)
    def write_open(self, user: int, slot: int, data: bytes, offset: int) -> None:
        self.both(user, "pwrite", slot, data, offset)

    @rule(user=users, slot=slots, offset=offsets)
    def read_open(self, user: int, slot: int, offset: int) -> None:
        self.both(user, "pread", slot, 10_000, offset)

    @rule(user=users, slot=slots, call=st.sampled_from(("fstat", "fsync", "flist")))
    def look_at_open(self, user: int, slot: int, call: str) -> None:
        self.both(user, call, slot)

    @rule(user=users, slot=slots, length=offsets)
    def truncate_open(self, user: int, slot: int, length: int) -> None:
        self.both(user, "ftruncate", slot, length)

    @rule(user=users, slot=slots, mode=modes, uid=ids)
    def change_open(self, user: int, slot: int, mode: int, uid: int) -> None:
        self.both(user, "fchmod", slot, mode)
        self.both(user, "fchown", slot, uid, -1)

    @rule(user=users, slot=slots, data=contents)
    def write_mapped(self, user: int, slot: int, data: bytes) -> None:
        self.both(user, "mapped", slot, data)

    @rule(user=users, slot=slots, mode=space_modes, offset=offsets, length=st.sampled_from((1, 4096, 5000)))
    def change_space(self, user: int, slot: int, mode: int, offset: int, length: int) -> None:
        self.both(user, "fallocate", slot, mode, offset, length)

    @rule(user=users, slot=slots, offset=offsets, whence=st.sampled_from((os.SEEK_DATA, os.SEEK_HOLE)))
    def seek(self, user: int, slot: int, offset: int, whence: int) -> None:
        self.both(user, "seek", slot, offset, whence)

    @rule(user=users, one=slots, other=slots, length=st.sampled_from((1, 5000)), offset=offsets)
    def copy_open(self, user: int, one: int, other: int, length: int, offset: int) -> None:
        self.both(user, "copy", one, other, length, offset)

    @rule(user=users, slot=slots, path=paths, mode=modes)
    def open_nameless(self, user: int, slot: int, path: tuple[bytes, ...], mode: int) -> None:
        self.both(user, "nameless", slot, path, mode)

    @rule(user=users, slot=slots, path=paths)
    def link_open(self, user: int, slot: int, path: tuple[bytes, ...]) -> None:
        if self.hard_links:
            self.both(user, "flink", slot, path)

    # Open directories

    @rule(user=users, slot=slots, path=paths)
    def open_directory(self, user: int, slot: int, path: tuple[bytes, ...]) -> None:
        self.both(user, "open", slot, path, os.O_RDONLY | os.O_DIRECTORY, 0)
        self.both(user, "numbers", slot)

    @rule(user=users, slot=slots, call=st.sampled_from(("mkdirat", "unlinkat", "statat")), name=names)
    def use_directory(self, user: int, slot: int, call: str, name: bytes) -> None:
        self.both(user, call, slot, name)
        self.both(user, "numbers", slot)

    # The whole

    @rule()
    def compare(self) -> None:
        self.compare_trees()

    @rule()
    def remount(self) -> None:
        self.compare_trees()
        self.compare_remounted()


def _has_wh_name(path: tuple[bytes, ...]) -> bool:
    return any(name.startswith(b".wh.") for name in path)


class Layered(Differential):
    """The same, where each side's upper becomes one of its lower layers from time to time.

    Without hard links: which of a link's names the upper holds is each side's own choice, and there it matters.
    """

    hard_links = False

    @rule()
    def freeze(self) -> None:
        self.compare_trees()
        for side in self.sides:
            side.freeze()
        self.compare_trees()


class Metacopy(Layered):
    """The same, where changes of metadata alone copy metadata alone."""

    options = ",metacopy=on"
    times = False  # the kernel's filling in of the data changes them, ours doesn't


class CopyingRename(Differential):
    """Where directories with lower content are renamed by copying."""

    our_options = ",rename=copy"


class UserXattr(Differential):
    """Where the marks are user.overlay.*, as in a user namespace."""

    our_options = ",userxattr"
    opaque = False
    upper_on = staticmethod(filesystems.same)


class OnRamfs(Differential):
    """Where the upper has no xattrs, so no redirects, opaque marks or origins, and no RENAME_WHITEOUT."""

    our_options = ",dialect=auto"
    wh_names = False
    upper_on = staticmethod(filesystems.ramfs)
    xattrs = False


class OnOverlay(Differential):
    """Where the upper is on a kernel overlay: no char 0:0, no RENAME_WHITEOUT, no file handles."""

    upper_on = staticmethod(filesystems.overlay)


class OnOursWithoutXattrs(Differential):
    """Where it has neither whiteout nodes nor xattrs: deletions are `.wh.` files, renames copy."""

    our_options = ",dialect=auto"
    upper_on = staticmethod(filesystems.ours_without_xattrs)
    xattrs = wh_names = False


class OnOurs(Differential):
    """Where the upper is on a union of ours."""

    upper_on = staticmethod(filesystems.ours)
