"""The last steps of the process that becomes the command, between fork and exec.

The flag no_new_privs stays off, as Docker's and podman's defaults have it: su, sudo and the like work inside, and what
they can gain is limited by the bounding set that the first process left.
"""

import fcntl
import os
import termios
from typing import NamedTuple, NoReturn

from runtime.container import confine, signals
from runtime.container.confine import Confinement
from runtime.container.execute import execute
from runtime.container.progress import failure_of, send_failure
from runtime.container.users import User
from runtime.errors import FAILURE, NOT_EXECUTABLE, NOT_FOUND, Refusal
from unionfs.linux.descriptors import close_all_but, open_null


class Command(NamedTuple):
    """What to run, and as whom."""

    args: list[str]
    environment: dict[str, str]
    workdir: str
    user: User
    terminal: int
    """Slave of its terminal, or -1."""
    confined: Confinement
    umask: int


def run(command: Command, stdio: tuple[int, int, int], errors: int) -> NoReturn:
    """Become `command`, or write to `errors` (close-on-exec) why not and exit."""
    try:
        _take_stdio(command, stdio)
        close_all_but((0, 1, 2, errors))
        signals.reset()
        _change_directory(command.workdir)
        path = _find(command)
        confine.apply(command.confined, command.user)
        os.umask(command.umask)
        _execute(path, command)
    except Exception as error:
        send_failure(errors, *failure_of(error))
    os._exit(FAILURE)


def _take_stdio(command: Command, stdio: tuple[int, int, int]) -> None:
    os.setsid()
    if command.terminal >= 0:
        fcntl.ioctl(command.terminal, termios.TIOCSCTTY, 0)
        stdio = (command.terminal,) * 3
    # the numbers may overlap: first out of the way, then into place
    high = [open_null() if fd < 0 else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
    for target, fd in enumerate(high):
        os.dup2(fd, target)


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
        os.getcwd()  # ENOENT if it is outside our root, which no path should reach
    except OSError as error:
        raise Refusal(f"cannot use {path!r} as working directory: {error.strerror}") from None


def _find(command: Command) -> str:
    """The path of the program. Raises Refusal: it is nowhere."""
    name = command.args[0]
    if "/" in name:
        return name
    found = ""
    for folder in command.environment.get("PATH", "").split(":"):
        path = f"{folder or '.'}/{name}"
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            found = found or path
    if not found:
        raise Refusal(f"exec: {name!r}: executable file not found in $PATH", NOT_FOUND)
    return found


def _execute(path: str, command: Command) -> NoReturn:
    try:
        execute(path, command.args, command.environment)
    except OSError as error:
        status = NOT_FOUND if isinstance(error, FileNotFoundError | NotADirectoryError) else NOT_EXECUTABLE
        raise Refusal(f"exec: {command.args[0]!r}: {error.strerror}", status) from None
