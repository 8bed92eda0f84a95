"""How a container is ended from outside: signals, by their names, and the order in which `stop` does it."""

import os
import select
import signal
import time
from contextlib import suppress

from runtime.container import control
from runtime.container.events import emit
from runtime.container.record import RUNNING, Container, open_process
from runtime.errors import Refusal, UsageError
from unionfs.linux.process import open_pidfd

_PAUSE_S = 0.01
_MOST_S = (1 << 31) // 1000 - 1
"""The longest that poll(2) can wait."""


def parse_signal(text: str) -> int:
    """TERM, SIGTERM, 15, RTMIN+3. Raises UsageError."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and 0 < int(name) <= signal.SIGRTMAX:
        return int(name)
    base, plus, offset = name.replace("-", "+-").partition("+")
    try:
        number = signal.Signals[f"SIG{base}"] + (int(offset) if plus else 0)
    except (KeyError, ValueError):
        raise UsageError(f"invalid signal {text!r}") from None
    if plus and not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        raise UsageError(f"invalid signal {text!r}")
    return int(number)


def stop(container: Container, number: int, timeout_s: int) -> None:
    """Ask the command to end by a signal, kill it if it hasn't after `timeout_s` (-1: never); return when nothing runs.

    Nothing happens if it doesn't run.
    """
    if container.state()["status"] not in RUNNING:
        return
    emit(container, container.config(), "stop")
    forbid_restart(container)
    with suppress(Refusal):
        pidfd = open_process(container)
        try:
            if not _ends(container, pidfd, number, timeout_s):
                end(container)
        finally:
            os.close(pidfd)
    container.wait_until_free()


def end(container: Container) -> None:
    """End a container by force; return when nothing of it runs.

    One that is just being started, paused or restarted by another command isn't hit at once, so it is tried until then.
    """
    while not container.is_free():
        forbid_restart(container)
        _kill(container)
        thaw(container)
        time.sleep(_PAUSE_S)


def send(container: Container, number: int) -> None:
    """Send the command a signal; if it is KILL, return when nothing runs. Raises Refusal: it doesn't run."""
    pidfd = open_process(container)
    try:
        emit(container, container.config(), "kill", signal=str(number))
        if number == signal.SIGKILL:
            end(container)
        elif number == signal.SIGSTOP:
            control.ask_signal(container.run_directory, number)  # the first process can't be told to pass this one on
        else:
            _send(container, pidfd, number)
    finally:
        os.close(pidfd)


def forbid_restart(container: Container) -> None:
    """Tell the monitor not to start the command again when it ends; return when it has heard."""
    with suppress(OSError):
        connection = control.connect(container.run_directory)
        try:
            os.write(connection, control.STOP)
            while (message := control.hear(connection)) and message != control.STOP:
                pass
        finally:
            os.close(connection)


def thaw(container: Container) -> None:
    """Let it run if it is paused: what is frozen can't die."""
    from runtime.container import cgroups

    with suppress(FileNotFoundError):  # of the marker or, if the container was just removed, of its configuration
        os.unlink(f"{container.run_directory}/paused")
        cgroups.find(container.id, container.config().limits).thaw()


def _ends(container: Container, pidfd: int, number: int, timeout_s: int) -> bool:
    """Whether it does in time when it gets that signal."""
    _send(container, pidfd, number)
    thaw(container)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000 if 0 <= timeout_s <= _MOST_S else None))


def _kill(container: Container) -> None:
    """Kill the first process, if there is one."""
    state = container.state()
    if state["pid"]:
        with suppress(ProcessLookupError):
            pidfd = open_pidfd(state["pid"], state["pid_ticks"])
            try:
                _send(container, pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)


def _send(container: Container, pidfd: int, number: int) -> None:
    with suppress(ProcessLookupError):
        try:
            signal.pidfd_send_signal(pidfd, number)
        except PermissionError:  # its root is another of an ordinary user's ids
            control.ask_signal(container.run_directory, number)
