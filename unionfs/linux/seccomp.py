"""Filters of system calls: seccomp(2)."""

import ctypes
import os

from unionfs.linux.libc import check, libc

_NR_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277, "ppc64le": 358, "s390x": 348}
_SET_MODE_FILTER = 1
_INSTRUCTION_BYTES = 8  # struct sock_filter

# include/uapi/linux/seccomp.h
FLAG_LOG = 1 << 1
FLAG_SPEC_ALLOW = 1 << 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def load(program: bytes, flags: int = 0) -> None:
    """Have the kernel run `program`, classic BPF, at each system call of this thread and of what it starts, for good.

    Raises OSError: EACCES (it takes CAP_SYS_ADMIN or no_new_privs), EINVAL (not a valid program).
    """
    code = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // _INSTRUCTION_BYTES, ctypes.addressof(code))
    number = _NR_SECCOMP.get(os.uname().machine, -1)
    check(libc.syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(described)))
