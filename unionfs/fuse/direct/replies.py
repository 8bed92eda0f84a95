"""Nodes and attributes laid out for replies, with the time that the kernel may keep them."""

import os
from collections.abc import Iterator

from unionfs.core.inodes import Node
from unionfs.core.model import StatLike
from unionfs.fuse.direct import protocol

_SECOND_NS = 10**9
_TYPE_SHIFT = 12
_BASIC_STATS = 0x7FF  # STATX_BASIC_STATS, include/uapi/linux/stat.h
_BTIME = 0x800
_ATTR_OUT_NOW = protocol.ATTR_OUT.pack(0, 0)
_DIRENTPLUS_BYTES = protocol.ENTRY_OUT.size + protocol.ATTR.size + protocol.DIRENT.size


class Replies:
    """Lays out what the kernel keeps for `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        seconds = int(timeout_s)
        self._valid = seconds, int((timeout_s - seconds) * _SECOND_NS)
        seconds, nanoseconds = self._valid
        self._attr_out = protocol.ATTR_OUT.pack(*self._valid)
        self._valid_twice = 0, seconds, seconds, nanoseconds, nanoseconds
        self._name_valid = 0, seconds, 0, nanoseconds, 0
        self.absent = protocol.ENTRY_OUT.pack(protocol.NO_NODE, *self._valid_twice) + bytes(protocol.ATTR.size)
        """That there is no such name."""

    def entry(self, nodeid: int, node: Node, st: StatLike) -> bytes:
        """entry_out: a name that the kernel will forget one day."""
        valid = self._name_valid if node.changes_unheard else self._valid_twice
        return protocol.ENTRY_OUT.pack(nodeid, *valid) + _attr(node, st)

    def attr(self, node: Node, st: StatLike) -> bytes:
        """attr_out."""
        return (_ATTR_OUT_NOW if node.changes_unheard else self._attr_out) + _attr(node, st)

    def direntplus(self, nodeid: int, node: Node, st: StatLike, offset: int, name: bytes) -> bytes:
        """One entry of READDIRPLUS; nodeid 0 says that the kernel takes no reference."""
        return self.entry(nodeid, node, st) + dirent(node, st, offset, name)

    def statx(self, node: Node, st: StatLike, birth_ns: int | None) -> bytes:
        """statx_out; without time of birth where the layer has none."""
        seconds, nanoseconds = (0, 0) if node.changes_unheard else self._valid
        times: Iterator[int] = (
            part
            for value in (st.st_atime_ns, birth_ns or 0, st.st_ctime_ns, st.st_mtime_ns)
            for part in divmod(value, _SECOND_NS)
        )
        return protocol.STATX_OUT.pack(
            seconds,
            nanoseconds,
            0,
            _BASIC_STATS if birth_ns is None else _BASIC_STATS | _BTIME,
            st.st_blksize,
            0,
            st.st_nlink,
            st.st_uid,
            st.st_gid,
            st.st_mode,
            node.ino,
            st.st_size,
            st.st_blocks,
            0,
            *times,
            os.major(st.st_rdev),
            os.minor(st.st_rdev),
            0,
            0,
        )


def direntplus_bytes(name: bytes) -> int:
    """How much `direntplus` lays out."""
    return _DIRENTPLUS_BYTES + len(name) + -len(name) % 8


def dirent(node: Node, st: StatLike, offset: int, name: bytes) -> bytes:
    """One entry of READDIR."""
    return (
        protocol.DIRENT.pack(node.ino, offset, len(name), st.st_mode >> _TYPE_SHIFT) + name + bytes(-len(name) % 8)
    )


def _attr(node: Node, st: StatLike) -> bytes:
    atime_ns, mtime_ns, ctime_ns, rdev = st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns, st.st_rdev
    return protocol.ATTR.pack(
        node.ino,
        st.st_size,
        st.st_blocks,
        atime_ns // _SECOND_NS,
        mtime_ns // _SECOND_NS,
        ctime_ns // _SECOND_NS,
        atime_ns % _SECOND_NS,
        mtime_ns % _SECOND_NS,
        ctime_ns % _SECOND_NS,
        st.st_mode,
        st.st_nlink,
        st.st_uid,
        st.st_gid,
        encode_device(rdev) if rdev else 0,
        st.st_blksize,
    )


def encode_device(rdev: int) -> int:
    """A device number in the kernel's 32 bits. Kernel: include/linux/kdev_t.h:new_encode_dev()."""
    minor = os.minor(rdev)
    return (minor & 0xFF) | (os.major(rdev) & 0xFFF) << 8 | (minor & 0xFFF00) << 12


def decode_device(encoded: int) -> int:
    """The C library's number of a device in the kernel's 32 bits."""
    return os.makedev(encoded >> 8 & 0xFFF, (encoded & 0xFF) | (encoded >> 12 & 0xFFF00))
