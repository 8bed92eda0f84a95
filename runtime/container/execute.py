"""Executing a program among a container's files, whose other processes may swap and write them meanwhile.

Until then the process is the host's Python interpreter. Whoever could run that inside, by way of /proc/self/exe, could
change its file later (CVE-2019-5736). So no magic link is followed, neither to the program nor to the interpreter of a
script, and the kernel is to follow no link at all: it gets a directory and a name, which is no symlink, and it reads
no script itself, as its descriptor will be closed by then. What it would have done is done here.
"""

import errno
import fcntl
import os
from typing import NoReturn

from unionfs.linux.fsops import RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from unionfs.linux.process import execveat

_AT_FDCWD = -100
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_MOST_INTERPRETERS = 5  # as the kernel's own limit
_HEADER_BYTES = 256  # BINPRM_BUF_SIZE
_COPY_BYTES = 1 << 30
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def execute(path: str, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program `path`. Raises OSError as execve(2); ELOOP also if a magic link leads to it."""
    at = os.fsencode(path)
    args = [os.fsencode(argument) for argument in arguments]
    settings = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    for _ in range(_MOST_INTERPRETERS):
        directory, name = _place(at)
        try:
            execveat(directory, name, args, settings)
        except FileNotFoundError:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            interpreter = _interpreter(file)
            if not interpreter:
                _execute_copy(file, args, environment)
        args = [*interpreter, at, *args[1:]]
        at = interpreter[0]
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _place(path: bytes) -> tuple[int, bytes]:
    """The directory, and the name in it, to which `path` leads, its last link followed."""
    directory, name = _split(path, RESOLVE_NO_MAGICLINKS)
    if not name:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # a directory
    try:
        os.readlink(name, dir_fd=directory)
    except OSError:
        return directory, name
    file = openat2(_AT_FDCWD, path, os.O_PATH, RESOLVE_NO_MAGICLINKS)
    return _split(os.readlink(b"/proc/self/fd/%d" % file), RESOLVE_NO_SYMLINKS)


def _split(path: bytes, resolve: int) -> tuple[int, bytes]:
    above, slash, name = path.rpartition(b"/")
    return openat2(_AT_FDCWD, above + slash or b".", _DIRECTORY, resolve), name


def _interpreter(file: int) -> list[bytes]:
    """The words of a script's first line, two at most: the interpreter and its argument; none if it is no script."""
    header = os.pread(file, _HEADER_BYTES, 0)
    if not header.startswith(b"#!"):
        return []
    line = header[2:].partition(b"\n")[0].strip(b" \t")
    interpreter = line.replace(b"\t", b" ").partition(b" ")[0]
    argument = line.removeprefix(interpreter).strip(b" \t")
    cut_off = interpreter == line and b"\n" not in header and len(header) == _HEADER_BYTES
    if not interpreter or cut_off:
        raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC))
    return [interpreter, argument] if argument else [interpreter]


def _execute_copy(file: int, args: list[bytes], environment: dict[str, str]) -> NoReturn:
    """Execute what only another program can, as binfmt_misc(5) has it: that gets a copy, which stays as it is."""
    copy = os.memfd_create("program", os.MFD_ALLOW_SEALING)
    while os.sendfile(copy, file, None, _COPY_BYTES):
        pass
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
    if _interpreter(copy):
        raise OSError(errno.ETXTBSY, os.strerror(errno.ETXTBSY))
    os.execve(copy, args, environment)
