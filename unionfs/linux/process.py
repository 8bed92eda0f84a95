"""What a process can do to itself: leave namespaces, die with its parent, hide its memory, give up capabilities; and to
others, which it holds by descriptors."""

import ctypes
import errno
import os
import select
import signal
from collections.abc import Iterable
from contextlib import suppress

from unionfs.linux.libc import check, libc

# include/uapi/linux/sched.h
CLONE_NEWTIME = 0x00000080
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_AT_SYMLINK_NOFOLLOW = 0x100
_KEYCTL_JOIN_SESSION_KEYRING = 1
_python = ctypes.PyDLL(None, use_errno=True)
"""The same functions, called without giving up the interpreter's lock."""
_NR_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}
_NR_EXECVEAT = {"x86_64": 322, "aarch64": 281, "riscv64": 281, "ppc64le": 362, "s390x": 354}
_NR_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}


def unshare(flags: int) -> None:
    """Move this process into new namespaces (CLONE_NEW*); of CLONE_NEWPID, only its children.

    Raises OSError: EPERM, ENOSPC (a limit of namespaces), EINVAL (a kind this kernel lacks).
    """
    check(libc.unshare(flags))


def fork(flags: int) -> int:
    """fork(2) with `flags` of clone(2), such as CLONE_NEWPID: the child is the first process of a new pid namespace.

    unshare(2) would have all later children there, too, and only root can take that back. Precondition: one thread.
    """
    number = _NR_CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "clone(2) of this architecture isn't known")
    _python.PyOS_BeforeFork()
    pid = int(_python.syscall(number, flags | signal.SIGCHLD, 0, 0, 0, 0))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
    else:
        _python.PyOS_AfterFork_Parent()
    return check(pid)


def setns(fd: int, flags: int) -> None:
    """Move this process into namespaces of the kinds `flags`: those of the process that the pidfd `fd` is, or the one
    that `fd`, opened below /proc/PID/ns, is; of pid namespaces, only its children.

    Raises OSError: EPERM, EINVAL (fewer capabilities or other threads in the way), ESRCH (the process has ended).
    """
    check(libc.setns(fd, flags))


def execveat(directory: int, name: bytes, arguments: list[bytes], environment: list[bytes]) -> None:
    """Become the program `name` of `directory`, which is close-on-exec; a symlink is none.

    What another program would have to open again isn't run, as it couldn't be: neither scripts nor what binfmt_misc(5)
    knows. Raises OSError: ENOENT (such a file, or an ELF interpreter that is missing), ELOOP (a symlink), and those of
    execve(2).
    """
    number = _NR_EXECVEAT.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "execveat(2) of this architecture isn't known")
    check(libc.syscall(number, directory, name, _vector(arguments), _vector(environment), _AT_SYMLINK_NOFOLLOW))


def _vector(texts: list[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
    pointers = [*texts, None]
    return (ctypes.c_char_p * len(pointers))(*pointers)


def die_with_parent(signal: int) -> None:
    """Have the kernel send this process `signal` when its parent's thread ends.

    A parent that ended before is not noticed: ask afterwards. Lost when an exec gains privileges.
    """
    _prctl(_PR_SET_PDEATHSIG, signal)


def make_undumpable() -> None:
    """Close this process's /proc entries (exe, fd, mem...) and ptrace to all without CAP_SYS_PTRACE, until an exec."""
    _prctl(_PR_SET_DUMPABLE, 0)


def make_dumpable() -> None:
    """The reverse, as after a change of the user it is needed: /proc entries are the user's own again."""
    _prctl(_PR_SET_DUMPABLE, 1)


def set_no_new_privileges() -> None:
    """From now on no exec of this process, or of what it starts, gives privileges: set-id bits count for nothing."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_set(keep: int) -> None:
    """Take every capability that isn't in the mask `keep` from what this process can ever gain, and the ambient set.

    Raises OSError: EPERM (CAP_SETPCAP is missing).
    """
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        last = int(file.read())
    for capability in range(last + 1):
        if not keep >> capability & 1:
            _prctl(_PR_CAPBSET_DROP, capability)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def sethostname(name: bytes) -> None:
    """Name the machine of this UTS namespace: at most 64 bytes, else EINVAL."""
    check(libc.sethostname(name, len(name)), name)


def setdomainname(name: bytes) -> None:
    """Name the NIS domain of this UTS namespace: at most 64 bytes, else EINVAL."""
    check(libc.setdomainname(name, len(name)), name)


def join_new_keyring() -> None:
    """Leave the caller's session keyring for an empty one. A kernel without keyrings has none to leave."""
    number = _NR_KEYCTL.get(os.uname().machine)
    if number is not None:
        libc.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)


def set_title(title: str) -> None:
    """Show `title` as this process's command line, as far as there is room; no other process's is touched.

    Inside a container the command line of its first process would tell the host's paths.
    """
    fields = _stat("self")
    start, end = fields[47], fields[48]  # arg_start, arg_end
    text = title.encode(errors="replace")[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def start_ticks(pid: int) -> int:
    """When process `pid` started, in clock ticks since the machine did: with the pid, its identity.

    Raises OSError: ENOENT, ESRCH (there is none).
    """
    return _stat(str(pid))[21]


def open_pidfd(pid: int, ticks: int) -> int:
    """A descriptor of the process `pid` that started at `ticks`. Raises ProcessLookupError: it is gone."""
    fd = os.pidfd_open(pid)
    with suppress(FileNotFoundError, ProcessLookupError):
        if start_ticks(pid) == ticks:
            return fd
    os.close(fd)
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))  # and the number may be a stranger's by now


def kill_all(pidfds: Iterable[int]) -> None:
    """Send SIGKILL to each that is still there."""
    for fd in pidfds:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)


def close_at_end(pidfds: Iterable[int]) -> None:
    """Wait until all of them are dead, and close the descriptors."""
    for fd in pidfds:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll()
        os.close(fd)


def _stat(pid: str) -> list[int]:
    """The fields of /proc/PID/stat, at the places proc_pid_stat(5) numbers from 1; 0 for the two that are text."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        _, _, rest = file.read().rpartition(b")")
    return [int(pid) if pid.isdigit() else 0, 0, 0, *map(int, rest.split()[1:])]


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    check(libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero))
