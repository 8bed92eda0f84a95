"""Files handed to the kernel: it then reads, writes and maps the layer's file itself, and shares its page cache.

The kernel's rules (fs/fuse/iomode.c, since Linux 6.9): while an inode is open, all who opened it use its page cache
here, or all are passed through to one backing file; an open that breaks this fails with EIO. Ours:

- A file whose data is in the upper is passed through. One of a lower is read through the page cache here, so that who
  opened it sees what is written after copy-up; with `shared` it is passed through too.
- What is already open one way goes on that way: a file that was copied up while somebody reads it stays cached until
  all have closed it.
- The kernel opens the path of a backing file anew for each opener, with the opener's flags and our credentials:
  a file of a lower is registered only if its mount is read-only, as the clones are through which we see layers.
- What is written through a mapping of a backing file moves its times, and may take space, without our hearing of it,
  after it was closed, too: the kernel keeps no attributes of a file that is open so that it can be mapped so, nor
  afterwards, unless it is seen at the last close that nobody has it mapped.
- A backing id belongs to the file it was made for. It ends with the last who has that open, and is never given out
  once the node's data is elsewhere.
"""

import errno
import fcntl
import os
from typing import NamedTuple

from unionfs.core.inodes import Handle
from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.protocol import Fopen
from unionfs.fuse.log import log

_FOR_ALL = (errno.EPERM, errno.ENOTTY)
"""Why no file at all can be registered: no privilege in the first user namespace, or a kernel that knows nothing."""


class Opened(NamedTuple):
    """How a file is to be opened: open_flags and backing_id of open_out."""

    flags: int
    backing_id: int = 0


class _Use:
    """How one of the kernel's inodes is open now."""

    __slots__ = ("backing_id", "is_upper", "opens")

    def __init__(self, backing_id: int, *, is_upper: bool) -> None:
        self.backing_id = backing_id
        """0: through the page cache here."""
        self.is_upper = is_upper
        """Whether the backing file is that of the upper."""
        self.opens = 0


class StaleError(OSError):
    """The inode is passed through to a file of a lower, which has been copied up since: ESTALE, and the kernel looks
    the name up again, to find another nodeid. Who has it open keeps the file of the lower."""


class Passthrough:
    """How the files of one mount are open."""

    def __init__(self, device: int, *, enabled: bool, shared: bool) -> None:
        self._device = device
        self._enabled = enabled
        self.shared = shared
        """Whether files of lowers are passed through too."""
        self._uses: dict[int, _Use] = {}
        """By nodeid."""
        self._unfit: set[int] = set()
        """Filesystems (st_dev) whose files the kernel doesn't take."""

    def open(self, nodeid: int, handle: Handle) -> Opened:
        """Count `handle` as open under `nodeid`, and tell how. Raises StaleError: it can't be, under this nodeid."""
        use = self._uses.get(nodeid)
        fresh = use is None
        if use is None:
            use = self._uses[nodeid] = _Use(self._register(handle), is_upper=handle.is_upper)
        elif use.backing_id and use.is_upper != handle.is_upper:
            raise StaleError(errno.ESTALE, os.strerror(errno.ESTALE))
        use.opens += 1
        if use.backing_id:
            if handle.flags & os.O_ACCMODE == os.O_RDWR:
                handle.node.changes_unheard = True
            return Opened(Fopen.PASSTHROUGH | Fopen.NOFLUSH, use.backing_id)
        # what was written past the page cache isn't in it; lower files don't change
        stale = fresh and self._enabled and handle.is_upper
        return Opened(Fopen.NOFLUSH if stale else Fopen.NOFLUSH | Fopen.KEEP_CACHE)

    def release(self, nodeid: int, handle: Handle) -> None:
        """`handle`, which was opened under `nodeid`, is about to be closed."""
        use = self._uses.get(nodeid)
        if use is None:
            return
        use.opens -= 1
        if not use.opens:
            del self._uses[nodeid]
            if use.backing_id:
                unregister(self._device, use.backing_id)
            if handle.node.changes_unheard and _is_alone(handle.fd):
                handle.node.changes_unheard = False

    def _register(self, handle: Handle) -> int:
        """A backing id for the file of `handle`, or 0 if it is to be cached."""
        if not self._enabled or not (handle.is_upper or self.shared):
            return 0
        device = handle.node.real[0] if handle.is_upper else os.fstat(handle.fd).st_dev
        if device in self._unfit or not (handle.is_upper or _is_on_read_only_mount(handle.fd)):
            return 0
        try:
            return register(self._device, handle.fd)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                return 0
            self._give_up(device, error)
            return 0

    def _give_up(self, device: int, error: OSError) -> None:
        if error.errno in _FOR_ALL:
            self._enabled = False
            log().info("files are read and written by the driver, not passed through: %s", error.strerror)
        else:
            self._unfit.add(device)
            log().info(
                "files of filesystem %d:%d aren't passed through: %s",
                os.major(device),
                os.minor(device),
                error.strerror,
            )


def register(device: int, fd: int) -> int:
    """Have the kernel take the file `fd`: its backing id on the connection `device`.

    Raises OSError: EPERM, ENOTTY (no file at all can be), EOPNOTSUPP, ELOOP, … (none of its filesystem can be).
    """
    return int(fcntl.ioctl(device, protocol.DEV_IOC_BACKING_OPEN, bytearray(protocol.BACKING_MAP.pack(fd, 0, 0))))


def unregister(device: int, backing_id: int) -> None:
    """Have it dropped again; who has it open keeps it."""
    fcntl.ioctl(device, protocol.DEV_IOC_BACKING_CLOSE, bytearray(protocol.BACKING_ID.pack(backing_id)))


def _is_on_read_only_mount(fd: int) -> bool:
    return bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)


def _is_alone(fd: int) -> bool:
    """Whether the file `fd` is open nowhere else, and not mapped: who has a lease to write it is alone."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True
