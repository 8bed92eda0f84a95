"""Run a program as an older kernel would: system calls that came later fail with ENOSYS.

    python -m tests.support.old_kernel 5.4 PROGRAM [ARGUMENT…]

Since Linux 5.1 a call has the same number on every architecture, so one limit says what is missing. What the FUSE
device offers is not touched by this: tests/fuse refuses its features one by one. Kernel: seccomp(2).
"""

import ctypes
import os
import struct
import sys

FIRST_MISSING = {"5.4": 436, "5.11": 442}
"""The first call that the kernel hasn't: close_range and openat2 came after 5.4, mount_setattr after 5.11."""

_LOAD, _JUMP_IF_ABOVE_OR_EQUAL, _RETURN = 0x20, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ENOSYS = 38
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def forget_calls_since(first_missing: int) -> None:
    """From now on, in this process and its children, `first_missing` and all calls after it are unknown."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = [
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_ABOVE_OR_EQUAL, 0, 1, first_missing),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(instructions), code)), 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    forget_calls_since(FIRST_MISSING[sys.argv[1]])
    os.execvp(sys.argv[2], sys.argv[2:])
