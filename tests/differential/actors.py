"""Processes that make one file system call after another for a test, each as a user of its own.

    with Actor(User(1000, (1000, 2000))) as actor:
        actor.ask("mkdir", path, 0o755)     # ("value", None) or ("errno", "EEXIST")

What a call gives is made comparable between two file systems: no inode numbers, no times, listings sorted.
"""

import ctypes
import errno
import mmap
import os
import pickle
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from unionfs.linux import fsops
from unionfs.linux.fsops import renameat2
from unionfs.linux.libc import check

AT_FDCWD = -100
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
DIRENT = struct.Struct("<QqHB")
READ_AT_MOST = 1 << 20
Answer = tuple[str, Any]


class User(NamedTuple):
    """Who makes the calls."""

    uid: int
    groups: tuple[int, ...]
    """The first is the user's own."""


class Actor:
    """A process that makes calls; its open files are kept in numbered slots."""

    def __init__(self, user: User, umask: int) -> None:
        self._channel, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._channel.close()
            try:
                _serve(theirs, user, umask)
            finally:
                os._exit(0)
        theirs.close()

    def ask(self, call: str, *arguments: object) -> Answer:
        """Make one call; what it gave, or the name of its errno."""
        _send(self._channel, (call, arguments))
        answer: Answer = _receive(self._channel)
        return answer

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _serve(channel: socket.socket, user: User, umask: int) -> None:
    os.umask(umask)
    if user.uid:
        os.setgroups(user.groups)
        os.setresgid(*(user.groups[0],) * 3)
        os.setresuid(*(user.uid,) * 3)
    slots: dict[int, int] = {}
    while (request := _receive(channel)) is not None:
        call, arguments = request
        try:
            answer: Answer = ("value", CALLS[call](slots, *arguments))
        except OSError as error:
            answer = ("errno", errno.errorcode[error.errno or 0])
        _send(channel, answer)


def _send(channel: socket.socket, value: object) -> None:
    data = pickle.dumps(value)
    channel.sendall(struct.pack("I", len(data)) + data)


def _receive(channel: socket.socket) -> Any:
    head = channel.recv(4, socket.MSG_WAITALL)
    if len(head) < 4:
        return None
    return pickle.loads(channel.recv(struct.unpack("I", head)[0], socket.MSG_WAITALL))


Slots = dict[int, int]


def describe(st: os.stat_result) -> tuple[object, ...]:
    """What two file systems must agree on. The links of a directory are 1 or real, as it is merged or not."""
    directory = stat.S_ISDIR(st.st_mode)
    return (
        oct(st.st_mode),
        st.st_uid,
        st.st_gid,
        None if directory else (st.st_size, st.st_nlink),
        st.st_rdev,
        "now" if abs(st.st_mtime_ns - time.time_ns()) < 10**12 else st.st_mtime_ns,
    )


def _stat(slots: Slots, path: bytes) -> object:
    return describe(os.lstat(path))


def _follow(slots: Slots, path: bytes) -> object:
    return describe(os.stat(path))


def _list(slots: Slots, path: bytes) -> object:
    with os.scandir(path) as entries:
        return sorted((entry.name, _type(entry)) for entry in entries)


def _type(entry: "os.DirEntry[bytes]") -> str:
    kinds = {"dir": entry.is_dir, "file": entry.is_file}
    return next((kind for kind, test in kinds.items() if test(follow_symlinks=False)), "other")


def _read(slots: Slots, path: bytes) -> object:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, READ_AT_MOST)
    finally:
        os.close(fd)


def _write(slots: Slots, path: bytes, flags: int, mode: int, data: bytes) -> object:
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | flags, mode)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def _xattrs(slots: Slots, path: bytes) -> object:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]


def _same(slots: Slots, one: bytes, other: bytes) -> object:
    first, second = os.lstat(one), os.lstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _open(slots: Slots, slot: int, path: bytes, flags: int, mode: int) -> object:
    if slot in slots:
        os.close(slots.pop(slot))
    slots[slot] = os.open(path, flags | os.O_NONBLOCK, mode)
    return None


def _close(slots: Slots) -> object:
    for fd in slots.values():
        os.close(fd)
    slots.clear()
    return None


def _open_nameless(slots: Slots, slot: int, directory: bytes, mode: int) -> object:
    return _open(slots, slot, directory, os.O_TMPFILE | os.O_RDWR, mode)


def _link_open(slots: Slots, slot: int, path: bytes) -> object:
    if slot not in slots:
        return "closed"
    proc = os.open("/proc/self/fd", os.O_PATH)  # without it Python takes link(2), which links the symlink
    try:
        os.link(str(slots[slot]), path, src_dir_fd=proc, follow_symlinks=True)
    finally:
        os.close(proc)
    return None


def _copy_range(slots: Slots, source: int, target: int, length: int, offset: int) -> object:
    if source not in slots or target not in slots:
        return "closed"
    return os.copy_file_range(slots[source], slots[target], length, 0, offset)


def _write_mapped(fd: int, data: bytes) -> object:
    """Write through a mapping, where the file is long enough."""
    size = os.fstat(fd).st_size
    if not 0 < len(data) <= size:
        return size
    with mmap.mmap(fd, size) as mapped:
        mapped[: len(data)] = data
    return describe(os.fstat(fd))


def _seek(fd: int, offset: int, whence: int) -> object:
    """Of directories each kind of filesystem thinks otherwise."""
    return None if stat.S_ISDIR(os.fstat(fd).st_mode) else os.lseek(fd, offset, whence)


def _list_numbers(fd: int) -> object:
    """Names of an open directory, and whether each has the number that lstat(2) tells."""
    os.lseek(fd, 0, os.SEEK_SET)
    found = [(name, ino) for ino, name in getdents(fd) if name != b".."]  # the kernel's is not always right
    return sorted((name, ino == os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino) for name, ino in found)


def getdents(fd: int) -> list[tuple[int, bytes]]:
    """What is left to be read of an open directory: (d_ino, name)."""
    buffer = ctypes.create_string_buffer(READ_AT_MOST)
    found = []
    while count := check(LIBC.syscall(SYS_GETDENTS64, fd, buffer, len(buffer))):
        place = 0
        while place < count:
            ino, _, length, _ = DIRENT.unpack_from(buffer.raw, place)
            found.append((ino, buffer.raw[place + DIRENT.size : place + length].split(b"\0")[0]))
            place += length
    return found


def _on_slot(call: Callable[..., Any]) -> Callable[..., Any]:
    def made(slots: Slots, slot: int, *arguments: object) -> object:
        if slot not in slots:
            return "closed"
        return call(slots[slot], *arguments)

    return made


def _plain(call: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    def made(slots: Slots, *arguments: object) -> object:
        return call(*arguments, **fixed)

    return made


CALLS: dict[str, Callable[..., Any]] = {
    "stat": _stat,
    "follow": _follow,
    "list": _list,
    "read": _read,
    "write": _write,
    "xattrs": _xattrs,
    "same": _same,
    "readlink": _plain(os.readlink),
    "access": _plain(os.access, effective_ids=True),
    "getxattr": _plain(os.getxattr, follow_symlinks=False),
    "mkdir": _plain(os.mkdir),
    "mknod": _plain(os.mknod),
    "symlink": _plain(os.symlink),
    "link": _plain(os.link, follow_symlinks=False),
    "unlink": _plain(os.unlink),
    "rmdir": _plain(os.rmdir),
    "rename": _plain(lambda old, new, flags: renameat2(AT_FDCWD, old, AT_FDCWD, new, flags)),
    "chmod": _plain(os.chmod),
    "chown": _plain(os.chown, follow_symlinks=False),
    "truncate": _plain(os.truncate),
    "utime": _plain(lambda path, ns: os.utime(path, ns=(ns, ns), follow_symlinks=False)),
    "setxattr": _plain(os.setxattr, follow_symlinks=False),
    "removexattr": _plain(os.removexattr, follow_symlinks=False),
    "open": _open,
    "close": _close,
    "fstat": _on_slot(lambda fd: describe(os.fstat(fd))),
    "pread": _on_slot(lambda fd, size, offset: os.pread(fd, size, offset)),
    "pwrite": _on_slot(lambda fd, data, offset: os.pwrite(fd, data, offset)),
    "ftruncate": _on_slot(os.ftruncate),
    "fchmod": _on_slot(os.fchmod),
    "fchown": _on_slot(os.fchown),
    "fsync": _on_slot(os.fsync),
    "mapped": _on_slot(_write_mapped),
    "fallocate": _on_slot(fsops.fallocate),
    "seek": _on_slot(_seek),
    "numbers": _on_slot(_list_numbers),
    "nameless": _open_nameless,
    "flink": _link_open,
    "copy": _copy_range,
    "mkdirat": _on_slot(lambda fd, name: os.mkdir(name, dir_fd=fd)),
    "unlinkat": _on_slot(lambda fd, name: os.unlink(name, dir_fd=fd)),
    "statat": _on_slot(lambda fd, name: describe(os.stat(name, dir_fd=fd, follow_symlinks=False))),
    "flist": _on_slot(lambda fd: sorted(os.listdir(fd))),
}
