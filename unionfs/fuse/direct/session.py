"""What is agreed with the kernel before anything else: the INIT request and its reply.

Every feature is used only if the kernel offers it, and the mount works without any of them.
"""

import errno
from typing import NamedTuple

from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.protocol import Init
from unionfs.fuse.direct.request import Request

MAX_TRANSFER_BYTES = 1 << 20
"""Data in the largest request: 256 pages, the kernel's own limit (FUSE_MAX_MAX_PAGES)."""
BUFFER_BYTES = MAX_TRANSFER_BYTES + protocol.PAGE_BYTES
"""Enough for any request."""
_READ_AHEAD_BYTES = 4 << 20
_MAX_BACKGROUND = 64
"""Requests that nobody waits for, such as read-ahead, that may be under way."""
_CONGESTION_THRESHOLD = 48
_NANOSECOND = 1

_WANTED = (
    Init.ASYNC_READ
    | Init.ATOMIC_O_TRUNC  # O_TRUNC comes with OPEN, and copy-up copies no data
    | Init.BIG_WRITES
    | Init.DONT_MASK  # a default ACL takes the place of the umask, which only the upper's filesystem can tell
    | Init.HAS_IOCTL_DIR
    | Init.DO_READDIRPLUS
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.ABORT_ERROR
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS
    | Init.NO_OPENDIR_SUPPORT
    | Init.EXPLICIT_INVAL_DATA  # contents change through this mount only
    | Init.SETXATTR_EXT
    | Init.INIT_EXT
    | Init.NO_EXPORT_SUPPORT
)
"""What every mount takes. Left out: WRITEBACK_CACHE, which excludes PASSTHROUGH; SECURITY_CTX and CREATE_SUPP_GROUP,
since the upper's filesystem labels what it creates, and the kernel above has dropped a set-group-id bit that the
caller's groups don't allow; AUTO_INVAL_DATA, which asks for attributes before each listing; READDIRPLUS_AUTO: with it
what doesn't fit in a first piece comes without attributes, to be looked up one by one (1,630 of 15,000 in a Debian: a
`find -printf` sends 4,800 requests instead of 2,200; one that wants names alone, `ls -R`, sends as many either way)."""


class Wishes(NamedTuple):
    """What depends on the mount."""

    acl: bool = True
    stack_depth: int = 0
    """How deep filesystems may be stacked up to and including ours if files are passed through: 1 if layers lie on
    an ordinary filesystem, 2 if on overlayfs or FUSE; 0: none are passed through. With 1 an overlay can still use the
    mount as its layer. Kernel: FILESYSTEM_MAX_STACK_DEPTH is 2."""
    idmap: bool = True
    """Whether the mount may be id-mapped. Then few requests say whose they are, and we look at the caller in /proc."""


class Session(NamedTuple):
    """What was agreed."""

    minor: int
    features: Init


class UnsupportedKernelError(OSError):
    """The kernel's protocol is older than any we speak."""


def negotiate(major: int, minor: int, offered: Init, wishes: Wishes) -> tuple[Session | None, bytes]:
    """The session and the reply to an INIT from a kernel that speaks `major`.`minor` and offers `offered`.

    There is no session yet with a kernel of a newer major version: it asks again in our own.
    Raises UnsupportedKernelError.
    """
    if major > protocol.MAJOR:
        return None, _reply(0, Init(0), 0)
    if (major, minor) < (protocol.MAJOR, protocol.OLDEST_MINOR):
        raise UnsupportedKernelError(
            errno.EPROTO, f"the kernel speaks FUSE {major}.{minor}, 7.{protocol.OLDEST_MINOR} (Linux 5.4) is needed"
        )
    wanted = _WANTED
    if wishes.acl:
        wanted |= Init.POSIX_ACL
    if wishes.stack_depth:
        wanted |= Init.PASSTHROUGH
    features = offered & wanted
    # set-id bits go with a stranger's write: either the kernel says which writes are one, or we look at the caller,
    # of whom we aren't told where mounts may map ids
    if Init.HANDLE_KILLPRIV_V2 in offered:
        features |= offered & (Init.HANDLE_KILLPRIV_V2 | (Init.ALLOW_IDMAP if wishes.idmap else Init(0)))
    else:
        features |= offered & Init.HANDLE_KILLPRIV
    if Init.INIT_EXT not in features:
        features = Init(features & 0xFFFFFFFF)
    depth = wishes.stack_depth if Init.PASSTHROUGH in features else 0
    return Session(min(minor, protocol.MINOR), features), _reply(max(minor, 0), features, depth)


def offered(request: Request) -> tuple[int, int, Init]:
    """Version and offer in an INIT request. Raises OSError: EINVAL (it is none)."""
    fields = request.fields(protocol.INIT_IN)
    flags2 = request.fields(protocol.INIT_IN_EXT)[0] if fields[3] & Init.INIT_EXT else 0
    return parse((fields[0], fields[1], fields[2], fields[3]), flags2)


def parse(fields: tuple[int, int, int, int], flags2: int) -> tuple[int, int, Init]:
    """Version and offer in an INIT request, whose fields are `fields`; `flags2` counts where there is INIT_EXT."""
    major, minor, _, flags = fields
    if flags & Init.INIT_EXT:
        flags |= flags2 << 32
    return major, minor, Init(flags)


def _reply(minor: int, features: Init, stack_depth: int) -> bytes:
    return protocol.INIT_OUT.pack(
        protocol.MAJOR,
        min(minor or protocol.MINOR, protocol.MINOR),
        _READ_AHEAD_BYTES,
        features & 0xFFFFFFFF,
        _MAX_BACKGROUND,
        _CONGESTION_THRESHOLD,
        MAX_TRANSFER_BYTES,
        _NANOSECOND,
        MAX_TRANSFER_BYTES // protocol.PAGE_BYTES,
        features >> 32,
        stack_depth,
    )
