"""libseccomp, which makes programs for seccomp(2) of names of system calls: for each architecture with its numbers."""

import ctypes
import errno
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

_LIBRARY = "libseccomp.so.2"
_ATTRIBUTE_BAD_ARCH = 2
_ATTRIBUTE_OPTIMIZE = 8
_BINARY_TREE = 2
_UNKNOWN = -1  # __NR_SCMP_ERROR

# include/seccomp.h
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW = (
    0x80000000,
    0x00000000,
    0x00030000,
    0x00050000,
    0x7FF00000,
    0x7FFC0000,
    0x7FFF0000,
)
COMPARISONS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


class Comparison(NamedTuple):
    """A test of an argument."""

    argument: int
    """0 to 5."""
    operator: int
    """1 + its place in COMPARISONS."""
    value: int
    """What to compare with; of MASKED_EQ, the mask."""
    second: int
    """Of MASKED_EQ, what the masked argument must be."""


class Rule(NamedTuple):
    """What to do about a system call, if all tests hold."""

    action: int
    name: str
    tests: tuple[Comparison, ...]


class _Test(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def compile_filter(default: int, architectures: Iterable[str], rules: Iterable[Rule]) -> bytes:
    """A program of classic BPF. Names that the library doesn't know are left to the `default` action.

    `architectures`: as the library calls them (x86_64, aarch64). Those of none get ENOSYS for all system calls.
    Raises OSError: ENOENT (the library is not installed), EINVAL (an argument or architecture it doesn't take).
    """
    library = _load()
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    if not context:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    try:
        _check(library.seccomp_attr_set(context, _ATTRIBUTE_BAD_ARCH, ctypes.c_uint32(ERRNO | errno.ENOSYS)))
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)  # since 2.5.0, and only quicker
        for architecture in architectures:
            _add_architecture(library, context, architecture)
        for rule in rules:
            _add_rule(library, context, default, rule)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def is_installed() -> bool:
    """Whether compile_filter() finds the library."""
    try:
        _load()
    except FileNotFoundError:
        return False
    return True


def path() -> str:
    """Where the library lies. Precondition: it was used."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        return next(line.rstrip("\n").split(" ", 5)[5].strip() for line in lines if f"/{_LIBRARY}" in line)


def _load() -> Any:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), _LIBRARY) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    return library


def _add_architecture(library: Any, context: ctypes.c_void_p, name: str) -> None:
    token = library.seccomp_arch_resolve_name(name.encode())
    if not token:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    result = library.seccomp_arch_add(context, ctypes.c_uint32(token))
    if result != -errno.EEXIST:  # this machine's own is there
        _check(result, name)


def _add_rule(library: Any, context: ctypes.c_void_p, default: int, rule: Rule) -> None:
    number = library.seccomp_syscall_resolve_name(rule.name.encode())
    if number == _UNKNOWN or rule.action == default:
        return
    tests = (_Test * max(1, len(rule.tests)))(*(_Test(*test) for test in rule.tests))
    action = ctypes.c_uint32(rule.action)
    _check(library.seccomp_rule_add_array(context, action, number, len(rule.tests), tests), rule.name)


def _export(library: Any, context: ctypes.c_void_p) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        _check(library.seccomp_export_bpf(context, fd))
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _check(result: int, name: str = "") -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result), name)
