"""A request as handlers get it: its header's fields, and a body to be decoded."""

import errno
import os
import signal
import struct
from typing import Any

from unionfs.core.model import Caller
from unionfs.fuse.direct.protocol import UNKNOWN_ID


class Request:
    """One request. The body lies in the buffer that the next one is read into: decode it before the first yield."""

    __slots__ = ("body", "gid", "nodeid", "opcode", "pid", "uid", "unique")

    def __init__(self, opcode: int, unique: int, nodeid: int, uid: int, gid: int, pid: int, body: memoryview) -> None:
        self.opcode = opcode
        self.unique = unique
        self.nodeid = nodeid
        self.uid = uid
        self.gid = gid
        self.pid = pid
        self.body = body
        """What follows the header."""

    def fields(self, layout: struct.Struct) -> tuple[Any, ...]:
        """What the body begins with. Raises OSError: EINVAL (it is shorter)."""
        try:
            return layout.unpack_from(self.body)
        except struct.error:
            raise malformed() from None

    def name(self, offset: int = 0) -> bytes:
        """The name at `offset` of the body, a single one. Raises OSError: EINVAL."""
        return checked(self.strings(offset, 1)[0])

    def strings(self, offset: int, count: int) -> list[bytes]:
        """`count` strings, each ended by a zero byte, from `offset` on. Raises OSError: EINVAL."""
        found = bytes(self.body[offset:]).split(b"\0", count)
        if len(found) <= count:
            raise malformed()
        return found[:count]

    def data(self, offset: int, size: int) -> memoryview:
        """`size` bytes of the body from `offset` on. Raises OSError: EINVAL (there are fewer)."""
        found = self.body[offset : offset + size]
        if len(found) != size:
            raise malformed()
        return found

    def caller(self, umask: int = 0) -> Caller:
        """Who asks; of a request that creates nothing the ids may be UNKNOWN_ID."""
        return Caller(self.uid, self.gid, self.pid, umask)

    def is_privileged(self) -> bool:
        """Whether root asks; as `asker`."""
        return self.asker() == 0

    def asker(self) -> int:
        """The user who asks. Looks into /proc where the request doesn't say (30 µs)."""
        return fsuid_of(self.pid) if self.uid == UNKNOWN_ID else self.uid


def checked(name: bytes) -> bytes:
    """`name` if it can be one: the kernel sends no other, and a path would lead out of a directory."""
    if not name or b"/" in name or name in (b".", b".."):
        raise malformed()
    return name


def fsuid_of(pid: int) -> int:
    """The user id with which a process asks filesystems; UNKNOWN_ID of one that we don't see."""
    words = _status(pid, b"Uid:")
    return int(words[4]) if words else UNKNOWN_ID


def is_dying(pid: int) -> bool:
    """Whether a signal has come that ends the process, whatever it says to that; False of one that we don't see.

    Kernel: fatal_signal_pending(); kernel/signal.c:complete_signal() makes SIGKILL of others that end it.
    """
    words = _status(pid, b"SigPnd:")
    return bool(words) and bool(int(words[1], 16) & 1 << signal.SIGKILL - 1)


def _status(pid: int, field: bytes) -> list[bytes]:
    """The line of /proc/PID/status that begins with `field`, in words; none of a process that we don't see."""
    try:
        with open(f"/proc/{pid}/status", "rb") as lines:
            return next((line.split() for line in lines if line.startswith(field)), [])
    except OSError:
        return []


def malformed() -> OSError:
    """What a request deserves that the protocol doesn't know."""
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL))
