"""Capabilities of the calling thread: capget(2), capset(2), and what prctl(2) says about them."""

import ctypes
from typing import NamedTuple

from unionfs.linux.libc import check, libc

_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h

# include/uapi/linux/prctl.h
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2


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


def keep_through_setuid() -> None:
    """Have this thread keep its permitted set when it changes from user 0 to another, until its next exec."""
    _prctl(_PR_SET_KEEPCAPS, 1)


def raise_ambient(mask: int) -> None:
    """Have programs without set-id bits or capabilities of their own keep those of `mask` through exec.

    Raises OSError: EPERM (they must be permitted and inheritable).
    """
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)


def _prctl(option: int, *arguments: int) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    check(libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded)))
