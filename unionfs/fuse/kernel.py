"""A FUSE filesystem as the kernel sees it before anyone serves it: the device, the mount, and its read-ahead.

A mount is made first and served later: whatever is asked of it waits until the driver has answered INIT, so the two
start at the same time. Keep the device's descriptor close-on-exec, and in as few processes as possible: one that
holds it while it waits for the mount itself can't be killed. Kernel: fs/fuse/inode.c.
"""

import array
import errno
import os

from unionfs.linux import mountinfo, mounts

FOREVER_S = 1e9
"""What to say when the kernel may keep a name or attributes until it is told otherwise."""

SUBTYPE = b"pyunionfs"
"""Mount tables show our mounts as fuse.pyunionfs."""

_DEVICE = "/dev/fuse"
_FUSERMOUNT = (b"fusermount3", b"fusermount")
_READ_AHEAD_KB = b"4096"


def open_device() -> int:
    """A new connection to the kernel. Raises OSError: ENOENT, ENODEV (no FUSE here), EACCES, EPERM."""
    return os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)


def detached_mount(
    fd: int,
    *,
    source: bytes,
    subtype: bytes = SUBTYPE,
    attributes: int = 0,
    allow_other: bool = True,
    options: dict[bytes, bytes | None] | None = None,
) -> int:
    """Mount the connection `fd`, on nothing yet: the descriptor of the mount, for mounts.move_mount().

    `attributes` are mounts.MOUNT_ATTR_*; `options` are further ones of the filesystem. Permissions are the kernel's
    to check. Raises OSError: EPERM (needs CAP_SYS_ADMIN), EINVAL (an option the kernel doesn't know).
    """
    settings: dict[bytes, bytes | None] = {
        b"source": source,
        b"subtype": subtype,
        b"fd": b"%d" % fd,
        b"rootmode": b"40000",
        b"user_id": b"%d" % os.geteuid(),
        b"group_id": b"%d" % os.getegid(),
        b"default_permissions": None,
    }
    if allow_other:
        settings[b"allow_other"] = None
    if attributes & mounts.MOUNT_ATTR_RDONLY:
        settings[b"ro"] = None
    return mounts.fsmount(b"fuse", settings | (options or {}), attributes)


def mount_device(
    fd: int,
    target: bytes,
    *,
    source: bytes,
    subtype: bytes = SUBTYPE,
    attributes: int = 0,
    allow_other: bool = True,
    options: dict[bytes, bytes | None] | None = None,
) -> None:
    """Mount the connection `fd` on the directory `target`; the rest as in `detached_mount`."""
    place = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        mount = detached_mount(
            fd, source=source, subtype=subtype, attributes=attributes, allow_other=allow_other, options=options
        )
        try:
            mounts.move_mount(mount, place)
        finally:
            os.close(mount)
    finally:
        os.close(place)


def fusermount_device(target: bytes, words: list[bytes]) -> int:
    """Have fusermount3, which is set-uid root, mount on `target`; the connection's descriptor.

    `words` are its -o options. Raises OSError: ENOENT (not installed), EPERM (it refused, in its own words).
    """
    from socket import AF_UNIX, CMSG_LEN, SOCK_STREAM, socketpair

    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    with ours, theirs:
        _run_fusermount([b"-o", b",".join(words), b"--", target], theirs.fileno())
        theirs.close()
        _, ancillary, _, _ = ours.recvmsg(1, CMSG_LEN(array.array("i").itemsize))
    for _, _, data in ancillary:
        fd = array.array("i", data)[0]
        os.set_inheritable(fd, False)
        return fd
    raise PermissionError(errno.EPERM, "fusermount3 refused")


def unmount(target: bytes, *, lazy: bool = True) -> None:
    """Unmount `target`, by our own power or fusermount3's; if `lazy` also when it is in use.

    Raises OSError: EINVAL (nothing is mounted there), EBUSY, EPERM (fusermount3 refused, or is not installed).
    """
    try:
        mounts.umount2(target, mounts.MNT_DETACH if lazy else 0)
    except PermissionError:
        try:
            _run_fusermount([b"-u", *([b"-z"] if lazy else []), b"--", target], None)
        except FileNotFoundError:
            raise PermissionError(errno.EPERM, "not permitted without fusermount3 (package fuse3)", target) from None


def unmount_union(target: bytes, *, lazy: bool = False) -> None:
    """The same for a mount that must be one of ours. Raises OSError: EINVAL if it isn't, in clear words."""
    mounted = mountinfo.topmost(target)
    if mounted is None or mounted.fstype != b"fuse." + SUBTYPE:
        what = "nothing" if mounted is None else f"{os.fsdecode(mounted.fstype)}, not a union,"
        raise OSError(errno.EINVAL, f"{what} is mounted there", target)
    try:
        unmount(target, lazy=lazy)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise OSError(errno.EBUSY, "in use: end what uses it, or unmount it lazily (-l)", target) from None


def set_read_ahead(target: bytes) -> None:
    """Let the kernel read 4 MiB ahead on the mount at `target`: 1.8 instead of 0.4 GB/s cold.

    Call it from a thread, once requests are served: INIT's reply sets 128 KiB, and is waited for here. Done as root
    only, and never an error: the mount works without.
    """
    try:
        os.stat(target)
    except OSError:
        return
    mount = mountinfo.topmost(target)
    if mount is not None and mount.fstype.startswith(b"fuse"):
        _set_read_ahead_of(mount.device)


def set_read_ahead_early(fd: int) -> bool:
    """The same for the connection `fd` once INIT is answered; whether the kernel tells which one it is (Linux 6.11)."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as lines:
        for line in lines:
            if line.startswith(b"fuse_connection:"):
                _set_read_ahead_of(b"0:" + line.split()[1])
                return True
    return False


def _set_read_ahead_of(device: bytes) -> None:
    try:
        setting = os.open(b"/sys/class/bdi/%b/read_ahead_kb" % device, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(setting, _READ_AHEAD_KB)
        finally:
            os.close(setting)
    except OSError:
        return


def _run_fusermount(arguments: list[bytes], channel: int | None) -> None:
    environment = dict(os.environb)
    if channel is not None:
        environment[b"_FUSE_COMMFD"] = b"%d" % channel
        os.set_inheritable(channel, True)
    for program in _FUSERMOUNT:
        complaints, theirs = os.pipe()
        with open(complaints, "rb") as reader:
            try:
                redirect = [(os.POSIX_SPAWN_DUP2, theirs, 2)]
                pid = os.posix_spawnp(program, [program, *arguments], environment, file_actions=redirect)
            except FileNotFoundError:
                continue
            finally:
                os.close(theirs)
            said = reader.read()
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status):
            lines = os.fsdecode(said).strip().splitlines() or [f"{program.decode()} refused"]
            raise PermissionError(errno.EPERM, "; ".join(lines))
        return
    raise FileNotFoundError(errno.ENOENT, "not installed", _FUSERMOUNT[0])
