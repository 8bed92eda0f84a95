"""From options to a mount: the union opened and its connection mounted, with nobody serving it yet.

What can be wrong is found before anything is mounted or changed. The mount is made on nothing first, so that its
being forbidden is known before the work directory is touched; layers are opened before it is attached, so that none
is looked for through it. fusermount3 can't make a mount on nothing: there, the work directory is made first.
"""

import errno
import os
import signal
from typing import Literal, NamedTuple

from unionfs.core.errors import UnionError
from unionfs.core.opening import open_union
from unionfs.core.options import UnionOptions
from unionfs.core.union import Union
from unionfs.fuse import kernel
from unionfs.linux import mountinfo, mounts

Binding = Literal["auto", "direct", "pyfuse3"]
LowerIo = Literal["auto", "cached", "shared"]

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_LIBRARIES = ("pyfuse3", "trio")
SELINUX = "/sys/fs/selinux/enforce"
"""There while SELinux is in use."""
_LABELS = (b"context", b"fscontext", b"defcontext", b"rootcontext")


class Settings(NamedTuple):
    """What a mount is like, whatever is served on it."""

    source: bytes = kernel.SUBTYPE
    """What mount tables show as the device."""
    attributes: int = 0
    """mounts.MOUNT_ATTR_* of the mount."""
    kernel_options: tuple[tuple[bytes, bytes], ...] = ()
    """Further options, for the kernel to read; labels of SELinux only count where it is in use."""
    allow_other: bool | None = None
    """Whether other users get in; None means if root mounts."""
    private: bool = False
    """Whether the mount is kept from the peers of the mount it is made on."""
    timeout_s: float = kernel.FOREVER_S
    """How long the kernel may keep names and attributes."""
    binding: Binding = "auto"
    """What carries its requests."""
    lower_io: LowerIo = "auto"
    """How files of lower layers are read: through the page cache of the mount, or of the layers."""


class Connection(NamedTuple):
    """A mounted union that waits for its driver."""

    union: Union
    fd: int
    target: bytes
    """Absolute path of the mount point, without symlinks."""
    signals: set[int]
    """What was blocked before."""


def mount(options: UnionOptions, mountpoint: bytes, settings: Settings) -> Connection:
    """Open the union and mount it on `mountpoint`. Raises UnionError; nothing is mounted or changed then.

    Signals that end a driver are blocked afterwards, until `serve` has its own way with them: one that came before
    would leave a mount that nobody serves.
    """
    if settings.binding == "pyfuse3":
        check_libraries()
    if options.upper is None:
        settings = settings._replace(attributes=settings.attributes | mounts.MOUNT_ATTR_RDONLY)
    target = os.path.realpath(mountpoint)
    place = _open_place(target, mountpoint)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        make = _mount if os.geteuid() == 0 else _mount_by_fusermount
        union, fd = make(options, target, place, settings)
    except BaseException as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if isinstance(error, OSError):  # of a layer, say, whose disk fails
            raise UnionError(f"mounting on {os.fsdecode(target)!r}: {error}") from error
        raise
    finally:
        os.close(place)
    if settings.private:
        mounts.make_private(target)
    return Connection(union, fd, target, set(map(int, blocked)))


def _mount(options: UnionOptions, target: bytes, place: int, settings: Settings) -> tuple[Union, int]:
    opened = [open_device()]
    try:
        opened.append(_detached(opened[0], target, settings))
        union = open_union(options)
        try:
            mounts.move_mount(opened[1], place)
        except OSError as error:
            union.close()
            raise UnionError(f"mount point {os.fsdecode(target)!r}: {_reason(error)}") from None
        return union, opened.pop(0)
    finally:
        for fd in opened:
            os.close(fd)


def _detached(fd: int, target: bytes, settings: Settings) -> int:
    labels = os.path.exists(SELINUX)
    options: dict[bytes, bytes | None] = {
        key: value for key, value in settings.kernel_options if labels or key not in _LABELS
    }
    try:
        return kernel.detached_mount(
            fd,
            source=settings.source,
            attributes=settings.attributes,
            allow_other=settings.allow_other is not False,
            options=options,
        )
    except PermissionError:
        raise UnionError(
            f"mounting on {os.fsdecode(target)!r} is not permitted: it takes CAP_SYS_ADMIN "
            "(root, or root of a user namespace), or an ordinary user with fusermount3"
        ) from None
    except OSError as error:
        raise UnionError(f"mounting on {os.fsdecode(target)!r}: the kernel refuses: {_reason(error)}") from None


def _mount_by_fusermount(options: UnionOptions, target: bytes, place: int, settings: Settings) -> tuple[Union, int]:
    union = open_union(options)
    try:
        fd = kernel.fusermount_device(target, _words(settings))
    except FileNotFoundError:
        union.close()
        raise UnionError(
            f"mounting on {os.fsdecode(target)!r} is not permitted: be root, or install fusermount3 (package fuse3)"
        ) from None
    except OSError as error:
        union.close()
        raise UnionError(f"mounting on {os.fsdecode(target)!r}: {_reason(error)}") from None
    return union, fd


def _words(settings: Settings) -> list[bytes]:
    """`settings` as fusermount3 reads them."""
    source = settings.source.replace(b"\\", b"\\\\").replace(b",", b"\\,")
    words = [b"fsname=" + source, b"subtype=" + kernel.SUBTYPE, b"default_permissions"]
    if settings.allow_other:
        words.append(b"allow_other")
    for word, flag in (
        (b"ro", mounts.MOUNT_ATTR_RDONLY),
        (b"noexec", mounts.MOUNT_ATTR_NOEXEC),
        (b"noatime", mounts.MOUNT_ATTR_NOATIME),
    ):
        if settings.attributes & flag:
            words.append(word)
    return words + [b"%b=%b" % (key, value) for key, value in settings.kernel_options if key not in _LABELS]


def check_libraries() -> None:
    """Find what a driver of pyfuse3's will import, as the import takes 0.2 s. Raises UnionError."""
    from importlib.machinery import PathFinder

    for name in _LIBRARIES:
        if PathFinder.find_spec(name) is None:
            raise UnionError(f"the Python package {name} is missing: install it for this Python (pip install pyfuse3)")


def _open_place(target: bytes, mountpoint: bytes) -> int:
    shown = os.fsdecode(mountpoint)
    mounted = mountinfo.topmost(target)
    if mounted is not None:
        what = os.fsdecode(mounted.fstype)
        raise UnionError(f"mount point {shown!r} is in use ({what} is mounted there): unmount that, or choose another")
    try:
        return os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UnionError(f"mount point {shown!r} does not exist: create it (mkdir), or correct the path") from None
    except NotADirectoryError:
        raise UnionError(f"mount point {shown!r} is not a directory: choose one") from None
    except OSError as error:
        raise UnionError(f"mount point {shown!r}: {_reason(error)}") from None


def open_device() -> int:
    """A connection to the kernel. Raises UnionError."""
    try:
        return kernel.open_device()
    except OSError as error:
        way_out = "load the kernel's module (modprobe fuse)"
        if error.errno == errno.EACCES:
            way_out = "who mounts must be allowed to read and write it (chmod 666 /dev/fuse)"
        in_containers = "in a container, have the device passed in (--device /dev/fuse)"
        raise UnionError(f"/dev/fuse: {_reason(error)}: {way_out}; {in_containers}") from None


def _reason(error: OSError) -> str:
    return error.strerror or os.strerror(error.errno or errno.EIO)
