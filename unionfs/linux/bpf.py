"""Programs the kernel runs for a control group: bpf(2)."""

import ctypes
import os

from unionfs.linux.libc import check, libc

_NR_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}

# include/uapi/linux/bpf.h
_PROG_LOAD = 5
_PROG_ATTACH = 8
_PROG_TYPE_CGROUP_DEVICE = 15
_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2  # groups below may have programs of their own, which can refuse more
_INSTRUCTION_BYTES = 8
_LICENSE = b"Apache-2.0"


class _Load(ctypes.Structure):
    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
    )


class _Attach(ctypes.Structure):
    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
    )


def attach_device_program(group: int, program: bytes) -> None:
    """Have `program` decide which devices processes of the control group (version 2) may make and open.

    It goes with the group. Raises OSError: EPERM (needs CAP_SYS_ADMIN of the machine), EINVAL (not a valid program),
    ENOSYS.
    """
    license_text = ctypes.create_string_buffer(_LICENSE)
    code = ctypes.create_string_buffer(program, len(program))
    load = _Load(
        prog_type=_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt=len(program) // _INSTRUCTION_BYTES,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(license_text),
    )
    loaded = _bpf(_PROG_LOAD, load)
    try:
        _bpf(_PROG_ATTACH, _Attach(group, loaded, _CGROUP_DEVICE, _ALLOW_MULTI))
    finally:
        os.close(loaded)


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    number = _NR_BPF.get(os.uname().machine, -1)
    return check(libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes)))
