"""System calls of another process, one by one: let go on, failed, or the last thing it does.

    listener = watch()                  # in the process (and all its threads and children, over exec too), for ever
    call = receive(listener)            # in another one, which got the descriptor: the process waits in the call
    let(listener, call)                 # …it is made
    fail(listener, call, errno.ENOSPC)  # …it isn't made, and returns this

Watched are the calls by which a program changes files or looks at them. Kernel: seccomp_unotify(2), Linux 5.5.
"""

import ctypes
import errno
import fcntl
import os
import platform
import struct
from typing import NamedTuple

from tests.support import needs

CHANGING = {
    "pwrite64": 18, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83,
    "rmdir": 84, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93,
    "lchown": 94, "mknod": 133, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
    "lremovexattr": 198, "fremovexattr": 199, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "unlinkat": 263,
    "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "utimensat": 280, "fallocate": 285,
    "renameat2": 316, "copy_file_range": 326,
}  # fmt: skip
LOOKING = {
    "fstat": 5, "lseek": 8, "pread64": 17, "getxattr": 191, "lgetxattr": 192, "fgetxattr": 193, "listxattr": 194,
    "llistxattr": 195, "flistxattr": 196, "getdents64": 217, "openat": 257, "newfstatat": 262, "readlinkat": 267,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "statx": 332, "openat2": 437,
}  # fmt: skip
"""Numbers on x86-64. An openat that may create or cut a file changes."""

_NAMES = {number: name for table in (CHANGING, LOOKING) for name, number in table.items()}
_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64
_NR_SECCOMP = 317
_SET_MODE_FILTER = 1
_FLAG_NEW_LISTENER = 1 << 3
_PR_SET_NO_NEW_PRIVS = 38
_USER_NOTIF, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECV, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_NOTICE = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_LIBC = ctypes.CDLL(None, use_errno=True)
_NAMELESS = os.O_TMPFILE & ~os.O_DIRECTORY


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


class Call(NamedTuple):
    """A call in which the watched process waits."""

    id: int
    name: str
    changes: bool
    arguments: tuple[int, ...]


def needed() -> None:
    """Skip where calls can't be watched."""
    if platform.machine() != "x86_64":
        needs.missing("numbers of system calls are written down for x86-64 alone")


def watch() -> int:
    """Watch this process from now on; the descriptor to receive its calls by. Raises OSError."""
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    instructions = [(_LOAD, 0, 0, 4), (_JUMP_IF_EQUAL, 0, len(_NAMES) + 1, _ARCHITECTURE), (_LOAD, 0, 0, 0)]
    instructions += [(_JUMP_IF_EQUAL, len(_NAMES) - at, 0, number) for at, number in enumerate(_NAMES)]
    instructions += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _USER_NOTIF)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    listener = _LIBC.syscall(_NR_SECCOMP, _SET_MODE_FILTER, _FLAG_NEW_LISTENER, ctypes.byref(program))
    if listener == -1:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def receive(listener: int) -> Call | None:
    """The next call; None: the process is gone, or left the call."""
    buffer = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECV, buffer)
    except FileNotFoundError:
        return None
    call, _, _, number, _, _, *arguments = _NOTICE.unpack(buffer)
    name = _NAMES[number]
    creates = name == "openat" and arguments[2] & (os.O_CREAT | os.O_TRUNC | _NAMELESS) != 0
    return Call(call, name, creates or name in CHANGING, tuple(arguments))


def let(listener: int, call: Call) -> None:
    """Let the call be made."""
    _answer(listener, _ANSWER.pack(call.id, 0, 0, _CONTINUE))


def fail(listener: int, call: Call, code: int) -> None:
    """Let the call return the error `code` without being made."""
    _answer(listener, _ANSWER.pack(call.id, 0, -code, 0))


def _answer(listener: int, answer: bytes) -> None:
    try:
        fcntl.ioctl(listener, _SEND, bytearray(answer))
    except OSError as error:
        if error.errno != errno.ENOENT:  # the process is gone
            raise
