"""The descriptor of /dev/fuse: requests read from it, replies and notices written to it."""

import errno
import os

from unionfs.fuse import transfer
from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.protocol import Notify
from unionfs.fuse.direct.request import Request
from unionfs.fuse.direct.session import BUFFER_BYTES
from unionfs.fuse.log import log

_HEADER_BYTES = protocol.IN_HEADER.size
_OUT_HEADER_BYTES = protocol.OUT_HEADER.size
_ONE_WRITE_BYTES = 4096
"""Up to here it is cheaper to copy a reply behind its header than to have the kernel gather the two."""
_ATTRIBUTES_ALONE = -1
_TO_THE_END = 0
_ERRNO_END = 512
"""Errors from here on are the kernel's own; it takes no reply with one, and who asked would wait for ever."""


class EndedError(Exception):
    """The connection is over: unmounted, or dropped by force."""


class Device:
    """One connection. Not blocking: poll it first."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self._buffer = transfer.buffer(BUFFER_BYTES)
        self._into = [self._buffer]

    def receive(self) -> Request | None:
        """The next request; its body is good until the next call. None: there is none. Raises EndedError."""
        try:
            size = os.readv(self.fd, self._into)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                raise EndedError from None
            if error.errno in (errno.ENOENT, errno.EINTR):  # who asked was interrupted
                return None
            raise
        return parse(self._buffer[:size])

    def close(self) -> None:
        """Drop the connection. Threads that still work may answer: nobody hears them."""
        fd, self.fd = self.fd, -1
        os.close(fd)

    def reply(self, unique: int, answer: bytes | bytearray | memoryview) -> None:
        """Answer the request `unique` with what stands behind out_header."""
        header = protocol.OUT_HEADER.pack(_OUT_HEADER_BYTES + len(answer), 0, unique)
        if len(answer) <= _ONE_WRITE_BYTES:
            self._send([header + answer])
        else:
            self._send([header, answer])

    def refuse(self, unique: int, number: int) -> None:
        """Answer the request `unique` with an errno."""
        known = number if 0 < number < _ERRNO_END else errno.EIO
        self._send([protocol.OUT_HEADER.pack(_OUT_HEADER_BYTES, -known, unique)])

    def drop_attributes(self, nodeid: int) -> None:
        """Have the kernel ask for the attributes of a node again; nothing to do if it doesn't know it."""
        self._notify(Notify.INVAL_INODE, protocol.INVAL_INODE_OUT.pack(nodeid, _ATTRIBUTES_ALONE, 0))

    def drop_listing(self, nodeid: int) -> None:
        """Have the kernel ask for the listing of a directory again, and for its attributes."""
        self._notify(Notify.INVAL_INODE, protocol.INVAL_INODE_OUT.pack(nodeid, 0, _TO_THE_END))

    def drop_name(self, nodeid: int, name: bytes) -> None:
        """Have the kernel look `name` of the directory up again.

        It waits for the directory's lock, whose holder may wait for us: call it in another thread.
        """
        notice = protocol.INVAL_ENTRY_OUT.pack(nodeid, len(name), 0) + name + b"\0"
        self._notify(Notify.INVAL_ENTRY, notice)

    def store(self, nodeid: int, content: memoryview) -> None:
        """Put `content`, the whole of a file, into the kernel's page cache.

        Precondition: nobody has the file open: a page that is being read stays locked until we have answered.
        """
        self._notify(Notify.STORE, protocol.STORE_OUT.pack(nodeid, 0, len(content)), content)

    def _notify(self, code: Notify, notice: bytes, content: bytes | memoryview = b"") -> None:
        size = _OUT_HEADER_BYTES + len(notice) + len(content)
        self._send([protocol.OUT_HEADER.pack(size, code, 0) + notice, content])

    def _send(self, parts: list[bytes | bytearray | memoryview]) -> None:
        try:
            os.writev(self.fd, parts)
        except OSError as error:
            # the connection is over, or whoever asked is gone; of a notice, that the kernel doesn't know the node
            if self.fd >= 0 and error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
                log().exception("the kernel doesn't take a message")  # of a reply, who asked gets EIO


def parse(message: memoryview) -> Request | None:
    """The request in `message`, whatever its body; None if it is too short to be one."""
    if len(message) < _HEADER_BYTES:
        return None
    _, opcode, unique, nodeid, uid, gid, pid = protocol.IN_HEADER.unpack_from(message)
    return Request(opcode, unique, nodeid, uid, gid, pid, message[_HEADER_BYTES:])
