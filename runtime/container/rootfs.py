"""The mounts a container sees, from the union to pivot_root: what its first process does to its own mount namespace.

In three steps, so that the driver starts up meanwhile:

    prepare()  instances of proc, sysfs, tmpfs, devpts and mqueue, attached nowhere yet
    attach()   waits for the union, then hangs everything into it, each by descriptor
    enter()    makes it the root; nothing of the host's mounts is left

Targets of our own mounts must have no symlink on their way (an image with /proc as a link is refused); targets the
user names are walked inside the root (inroot.py). Paths are bytes.
"""

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runtime.container.config import Config, Maps, Tmpfs, Volume
from runtime.container.hidden import Hidden, hidden
from runtime.container.inroot import Kind, open_plain, open_target
from runtime.errors import Refusal
from unionfs.linux import mounts
from unionfs.linux.mounts import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

if TYPE_CHECKING:
    from runtime.container.cgroups.shown import Shown
    from runtime.container.devices import DeviceNode
    from runtime.container.image_mounts import Connection

HARMLESS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
_ATTRIBUTES = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
}

_DEVICES = ((b"null", 1, 3), (b"zero", 1, 5), (b"full", 1, 7), (b"random", 1, 8), (b"urandom", 1, 9), (b"tty", 5, 0))
_DEVICE_LINKS = (
    (b"ptmx", b"pts/ptmx"),
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
    (b"core", b"/proc/kcore"),
)
_TTY_GROUP = 5


class Prepared(NamedTuple):
    """Detached mounts, as descriptors."""

    proc: int
    sys: int
    dev: int
    pts: int
    shm: int
    mqueue: int
    groups: "list[Shown]"


def prepare(config: Config, shm: int, maps: Maps | None, groups: "list[Shown]") -> Prepared:
    """Make the kernel's filesystems for this container; `shm` is its /dev/shm, or -1 if it gets one of its own.

    `maps` are those of the user namespace, in which not all are to be had.

    Precondition: the new namespaces are entered.
    """
    if shm < 0 and config.namespaces.get("ipc") == "host":
        shm = mounts.open_tree(None, b"/dev/shm", recursive=maps is not None)
    return Prepared(
        _make_or_bind(b"proc", b"/proc", HARMLESS),
        _make_or_bind(b"sysfs", b"/sys", HARMLESS | (0 if config.privileged else MOUNT_ATTR_RDONLY)),
        _make_dev(config, maps),
        _make_pts(has_groups=maps is None or maps.has_gid(_TTY_GROUP)),
        shm if shm >= 0 else _make_shm(config.shm_bytes),
        _make_or_bind(b"mqueue", b"/dev/mqueue", HARMLESS),
        groups,
    )


def _make_or_bind(fstype: bytes, path: bytes, attributes: int) -> int:
    """A new instance; where the namespace it shows isn't our user namespace's, the machine's, which shows the same."""
    try:
        return mounts.fsmount(fstype, {b"source": fstype}, attributes)
    except PermissionError:
        try:
            tree = mounts.open_tree(None, path, recursive=True)
        except FileNotFoundError:
            name = os.fsdecode(path)
            raise Refusal(f"{name}: the machine has none to show, and this user namespace can't make one") from None
        mounts.set_attributes(tree, attributes, recursive=True)
        return tree


def _make_pts(*, has_groups: bool) -> int:
    options = {b"source": b"devpts", b"newinstance": None, b"ptmxmode": b"0666", b"mode": b"0620"}
    if has_groups:
        options[b"gid"] = b"%d" % _TTY_GROUP
    return mounts.fsmount(b"devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)


def _make_shm(size: int) -> int:
    return mounts.fsmount(b"tmpfs", {b"source": b"shm", b"mode": b"1777", b"size": b"%d" % size}, HARMLESS)


def _make_node(dev: int, name: bytes, device: int) -> None:
    try:
        os.mknod(name, stat.S_IFCHR | 0o666, device, dir_fd=dev)
    except PermissionError as error:  # root of another engine's container; mknod(2) by descriptor names nothing
        error.filename = b"/dev/" + name
        raise


def _make_dev(config: Config, maps: Maps | None) -> int:
    dev = mounts.fsmount(
        b"tmpfs",
        {b"source": b"tmpfs", b"mode": b"755", b"size": b"65536k"},
        MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_STRICTATIME,
    )
    for name, major, minor in _DEVICES:
        if maps is None:
            _make_node(dev, name, os.makedev(major, minor))
        else:  # it may not: the machine's are bound over files
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=dev))
    more = _more_devices(config)
    if more:
        from runtime.container import devices

        devices.make(dev, more, bound=maps is not None)
    for link, target in _DEVICE_LINKS:
        os.symlink(target, link, dir_fd=dev)
    for directory in (b"pts", b"shm", b"mqueue"):
        os.mkdir(directory, 0o755, dir_fd=dev)
    return dev


def _more_devices(config: Config) -> "list[DeviceNode]":
    """Those beyond the usual ones."""
    if not config.privileged and not config.security.get("devices"):
        return []
    from runtime.container import devices

    asked = [devices.DeviceNode(*node) for node in config.security.get("devices", ())]
    return [*asked, *(devices.all_below() if config.privileged else ())]


def open_volumes(config: Config, images: "list[Connection]", user: int = -1) -> list[int]:
    """The volumes as detached mounts.

    `images` are the connections of those that are images; `user` the user namespace for which some are to be mapped,
    or -1. Precondition: the mounts of this namespace are as connected as the host's.
    """
    connections = iter(images)
    return [_open_volume(volume, next(connections) if volume.image else None, user) for volume in config.volumes]


def attach(
    root: int, scratch: int, prepared: Prepared, volumes: list[int], config: Config, maps: Maps | None
) -> None:
    """Hang all that the container sees into `root`, the mounted union.

    `scratch` is a directory on a filesystem of its own with the files hosts, hostname and resolv.conf and the
    empty directory `empty`. Raises Refusal, OSError.
    """
    _attach_plain(root, b"proc", prepared.proc)
    _attach_plain(root, b"sys", prepared.sys)
    for shown in prepared.groups:
        _attach_plain(root, *shown)
    _attach_plain(root, b"dev", prepared.dev)
    if maps is not None:
        _bind_devices(root, config)
    _attach_plain(root, b"dev/pts", prepared.pts)
    _attach_plain(root, b"dev/shm", prepared.shm)
    _attach_plain(root, b"dev/mqueue", prepared.mqueue)
    _protect(root, scratch, hidden(config.security, config.privileged))
    for name in (b"hosts", b"hostname", b"resolv.conf"):
        _attach_at(root, b"etc/" + name, mounts.open_tree(scratch, name), "file")
    kernel = {os.fstat(prepared.proc).st_dev, os.fstat(prepared.sys).st_dev}
    places: list[tuple[Volume | Tmpfs, int]] = [*zip(config.volumes, volumes, strict=True)]
    places += [(tmpfs, -1) for tmpfs in config.tmpfs]
    for place, tree in sorted(places, key=_depth):  # those that lie within others after these
        if isinstance(place, Volume):
            _attach_volume(root, place, tree, kernel)
        else:
            _attach_tmpfs(root, place, kernel)


def _bind_devices(root: int, config: Config) -> None:
    """Show the machine's devices, where none can be made."""
    sources = {b"/dev/" + name: b"/dev/" + name for name, _, _ in _DEVICES}
    sources |= {os.fsencode(node.target): os.fsencode(node.source) for node in _more_devices(config)}
    for target, source in sources.items():
        _attach_plain(root, target.removeprefix(b"/"), mounts.open_tree(None, source))


def attach_console(root: int, terminal: int) -> None:
    """Show the container's terminal, number `terminal` of its devpts, as /dev/console."""
    pts = open_plain(root, b"dev/pts")
    dev = open_plain(root, b"dev")
    try:
        os.close(os.open(b"console", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=dev))
        _attach_plain(dev, b"console", mounts.open_tree(pts, b"%d" % terminal))
    finally:
        os.close(pts)
        os.close(dev)


def enter(root: int) -> None:
    """Make `root` this namespace's root and forget the old one."""
    os.fchdir(root)
    mounts.pivot_root(b".", b".")
    mounts.umount2(b".", mounts.MNT_DETACH)
    os.chdir(b"/")


def _protect(root: int, scratch: int, paths: Hidden) -> None:
    for path in paths.masked:
        _cover(root, path, scratch)
    for path in paths.read_only:
        with suppress(FileNotFoundError):
            tree = mounts.open_tree(root, path, recursive=True)
            mounts.set_attributes(tree, MOUNT_ATTR_RDONLY, recursive=True)
            _attach_plain(root, path, tree)


def _cover(root: int, path: bytes, scratch: int) -> None:
    """Hide what is at `path`: a directory by an empty read-only one, a file by our own /dev/null."""
    try:
        target = open_plain(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if stat.S_ISDIR(os.fstat(target).st_mode):
            cover = mounts.open_tree(scratch, b"empty")
            mounts.set_attributes(cover, MOUNT_ATTR_RDONLY)
        else:
            cover = mounts.open_tree(root, b"dev/null")
        _move(cover, target)
    finally:
        os.close(target)


def _open_volume(volume: Volume, connection: "Connection | None", user: int) -> int:
    recursive = volume.propagation.startswith("r")
    if connection is not None:
        from runtime.container import image_mounts

        tree = image_mounts.mount(volume, connection)
    else:
        tree = mounts.open_tree(None, os.fsencode(volume.source), recursive=recursive, follow=True)
        mounts.set_propagation(tree, volume.propagation.removeprefix("r"))
    if volume.read_only:
        mounts.set_attributes(tree, MOUNT_ATTR_RDONLY, recursive=True)
    if user >= 0 and (volume.mapped or volume.name or volume.image):
        try:
            mounts.set_ids(tree, user, recursive=recursive)
        except OSError as error:
            raise Refusal(f"volume at {volume.target}: owners can't be mapped there: {error.strerror}") from None
    return tree


def _attach_volume(root: int, volume: Volume, tree: int, kernel: set[int]) -> None:
    kind: Kind = "directory" if stat.S_ISDIR(os.fstat(tree).st_mode) else "file"
    _attach_at(root, os.fsencode(volume.target), tree, kind, kernel)


def _attach_tmpfs(root: int, tmpfs: Tmpfs, kernel: set[int]) -> None:
    options = {os.fsencode(key): os.fsencode(value) for key, value in tmpfs.options.items()}
    attributes = sum(_ATTRIBUTES[flag] for flag in tmpfs.flags)
    mount = mounts.fsmount(b"tmpfs", {b"source": b"tmpfs", **options}, attributes)
    _attach_at(root, os.fsencode(tmpfs.target), mount, "directory", kernel)


def _attach_at(root: int, path: bytes, mount: int, kind: Kind, refused: Collection[int] = ()) -> None:
    """Attach `mount` where `path` leads to inside `root`, which must not be on a filesystem of `refused`."""
    target = open_target(root, path, kind)
    try:
        if os.fstat(target).st_dev in refused:
            raise Refusal(f"mount target {os.fsdecode(path)} leads into /proc or /sys")
        _move(mount, target)
    finally:
        os.close(target)


def _attach_plain(root: int, path: bytes, mount: int) -> None:
    """Attach `mount` at a path of our own; it stays open."""
    try:
        target = open_plain(root, path)
        try:
            mounts.move_mount(mount, target)
        finally:
            os.close(target)
    except OSError as error:  # EINVAL: one of the two is a directory, the other is none
        reason = error.strerror
        raise Refusal(f"cannot mount /{os.fsdecode(path)} of the root filesystem: {reason}") from None


def _move(mount: int, target: int) -> None:
    mounts.move_mount(mount, target)
    os.close(mount)


def _depth(place: tuple[Volume | Tmpfs, int]) -> int:
    return place[0].target.count("/")
