"""The C library, and the one place where its errors become Python's.

Every module of this package calls `libc` for what the standard library lacks; nothing above this package does.
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def check(result: int, path: bytes | str | int | None = None) -> int:
    """Return `result` of a C call, or raise the OSError it stands for when it is -1."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result
