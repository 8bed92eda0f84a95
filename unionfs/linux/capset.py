"""Capabilities of the calling thread: capget(2), capset(2)."""

import ctypes
from typing import NamedTuple

from unionfs.linux.libc import check, libc

_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h


class Caps(NamedTuple):
    """Sets of capabilities as bit masks: bit N is capability N."""

    effective: int
    permitted: int
    inheritable: int


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def capget() -> Caps:
    """The sets of this thread."""
    data = (_Data * 2)()
    check(libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), data))
    low, high = data
    return Caps(
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(caps: Caps) -> None:
    """Make `caps` the sets of this thread. Raises OSError: EPERM (more than permitted)."""
    low = [value & 0xFFFFFFFF for value in caps]
    high = [value >> 32 for value in caps]
    check(libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), (_Data * 2)(_Data(*low), _Data(*high))))
