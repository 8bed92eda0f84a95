"""The files that we mount in /etc of a container, while it runs: they are seen from within its mounts alone."""

import os
from collections.abc import Callable

from unionfs.linux import process
from unionfs.linux.fsops import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_CHUNK_BYTES = 1 << 16


def rewrite(pidfd: int, name: bytes, change: Callable[[bytes], bytes]) -> None:
    """Give our file /etc/`name` another text, made of the one it has; nothing happens if something else is mounted
    there, or nothing.

    `pidfd` is the container's first process. A child does it, which can't come back; `change` can't import there.
    """
    child = os.fork()
    if child == 0:
        try:
            process.make_undumpable()
            _rewrite(pidfd, name, change)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _rewrite(pidfd: int, name: bytes, change: Callable[[bytes], bytes]) -> None:
    """Nothing of the container's is believed: what is written to is told by the mount it is on."""
    ourselves = os.open(b"/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    process.setns(pidfd, process.CLONE_NEWNS)
    root = os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    found = openat2(root, b"etc/" + name, os.O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    number = next(line for line in _lines(ourselves, b"fdinfo/%d" % found) if line.startswith(b"mnt_id:")).split()[1]
    if any(_is_ours(line.split(), number, name) for line in _lines(ourselves, b"mountinfo")):
        file = os.open(b"fd/%d" % found, os.O_RDWR | os.O_CLOEXEC, dir_fd=ourselves)
        content = change(_read(file))
        os.pwrite(file, content, 0)
        os.ftruncate(file, len(content))


def _lines(directory: int, name: bytes) -> list[bytes]:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    lines = _read(fd).splitlines()
    os.close(fd)
    return lines


def _read(fd: int) -> bytes:
    text = b""
    while data := os.read(fd, _CHUNK_BYTES):
        text += data
    return text


def _is_ours(words: list[bytes], number: bytes, name: bytes) -> bool:
    """Whether a line of mountinfo, proc_pid_mountinfo(5), is about that mount, and the mount is our file."""
    kind_at = words.index(b"-") + 1
    return words[0] == number and words[3] == b"/" + name and words[kind_at : kind_at + 2] == [b"tmpfs", b"pyunion"]
