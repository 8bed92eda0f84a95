"""Other programs run for their effect, without the import of subprocess (13 ms)."""

import os
import signal
from collections.abc import Sequence

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Which a program would ignore, too: pasta takes that for a failure."""
_OUTPUT_BYTES = 1 << 16
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"


def find(name: str) -> str:
    """The path of a program, or nothing; the administrator's directories are looked through in any case."""
    for directory in _PATH.split(":"):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def run(arguments: Sequence[str], text: str = "", keep: int = -1) -> tuple[int, str, str]:
    """Run a program with `text` as its input: its exit status, its output and what it complained about.

    `keep` is a descriptor that the program inherits: a lock that is to hold until it has ended, whatever becomes of us.
    """
    given = _in_memory("input", text.encode())
    output, complaints = _in_memory("output"), _in_memory("complaints")
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((given, output, complaints))]
    if keep >= 0:
        actions.append((os.POSIX_SPAWN_DUP2, keep, keep))
    try:
        path, words = arguments[0], list(arguments)
        pid = os.posix_spawn(
            path, words, os.environ, file_actions=actions, setsigmask=(), setsigdef=IGNORED_BY_PYTHON
        )
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), _read(output), _read(complaints)
    finally:
        for fd in (given, output, complaints):
            os.close(fd)


def _in_memory(name: str, content: bytes = b"") -> int:
    fd = os.memfd_create(name)
    while content:
        content = content[os.write(fd, content) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _read(fd: int) -> str:
    return os.pread(fd, _OUTPUT_BYTES, 0).decode(errors="replace")
