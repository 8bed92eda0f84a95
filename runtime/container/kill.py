"""How a container is ended from outside: signals, by their names, and the order in which `stop` does it."""

import os
import select
import signal
from contextlib import suppress

from runtime.container import control
from runtime.container.events import emit
from runtime.container.record import RUNNING, Container, open_process
from runtime.errors import Refusal, UsageError


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
            _end(container, pidfd, number, timeout_s)
        finally:
            os.close(pidfd)
    container.wait_until_free()


def send(container: Container, number: int) -> None:
    """Send the command a signal. Raises Refusal: it doesn't run."""
    pidfd = open_process(container)
    try:
        if number == signal.SIGKILL:
            forbid_restart(container)
        emit(container, container.config(), "kill", signal=str(number))
        _send(pidfd, number)
        if number == signal.SIGKILL:
            thaw(container)
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

    with suppress(FileNotFoundError):
        os.unlink(f"{container.run_directory}/paused")
        cgroups.find(container.id, container.config().limits).thaw()


def _end(container: Container, pidfd: int, number: int, timeout_s: int) -> None:
    _send(pidfd, number)
    thaw(container)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(None if timeout_s < 0 else timeout_s * 1000):
        _send(pidfd, signal.SIGKILL)


def _send(pidfd: int, number: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
