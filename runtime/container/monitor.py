"""The monitor process: parent of the driver and of the container's first process, owner of the container's lifetime.

Whichever of the three (monitor, driver, first process) ends first, the others end too:

    first process ends   the monitor stops the driver, records the exit or removes the container
    driver dies          the monitor kills the first process, and goes on as above
    monitor dies         the kernel kills the first process (parent-death signal); the driver, which then has
                         nothing to serve, cleans up
    caller dies          (foreground) the monitor sees the pipe `lifeline` end and kills the first process

The kernel ends the rest: all processes of the pid namespace with the first, the mounts with their namespace.
"""

import os
import signal
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from runtime.container import driver
from runtime.container.config import Config
from runtime.container.descriptors import close_all_but, point_at_null
from runtime.container.driver import DriverJob
from runtime.container.progress import Progress, send_failure
from runtime.container.relay import Loop
from runtime.container.store import Container, finish
from runtime.errors import FAILURE, describe
from unionfs.fuse.kernel import open_device

_DRIVER_ENDS_WITHIN_S = 10
"""An unmounted driver has only to close its files; one that takes longer hangs."""


class Attachment(NamedTuple):
    """How the container hangs on its caller. Descriptors of the monitor's; -1 where there is none."""

    report: int
    """Pipe to the caller: progress, ending with the monitor."""
    lifeline: int
    """Pipe from the caller: numbers of signals to pass on, ending with the caller; -1 if the container is to go on."""
    stdio: tuple[int, int, int]
    outputs: tuple[int, ...]
    """Pipes the monitor itself copies to the log."""
    terminal: int
    """Socket for the terminal's master; it goes to the caller, or to us if there is no lifeline."""
    size: tuple[int, int]
    saved: tuple[int, list[Any]] | None
    """The caller's own terminal and its settings, to be restored if the caller can't."""


def main(container: Container, config: Config, hidden: list[str], lock: int, attachment: Attachment) -> NoReturn:
    """Run `container` to its end; exit with its exit status."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        status = _Monitor(container, config, hidden, lock, attachment).run()
    except Exception as error:
        text = describe(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            send_failure(attachment.report, FAILURE, text)
        finish(container, FAILURE, text)
        status = FAILURE
    os._exit(status)


class _Monitor:
    def __init__(
        self, container: Container, config: Config, hidden: list[str], lock: int, attachment: Attachment
    ) -> None:
        self._container = container
        self._config = config
        self._hidden = hidden
        self._lock = lock
        self._attachment = attachment
        self._progress = Progress()
        self._loop = Loop()
        self._init = 0
        self._driver = 0
        self._driver_fd = -1
        self._status: int | None = None
        self._said_started = False

    def run(self) -> int:
        """Start the two, wait for the end, clean up: the exit status."""
        self._start()
        self._container.write_config(self._config)
        self._container.write_state(status="created", pid=self._init, exit_code=0, error="")
        while self._status is None:
            self._loop.turn()
        self._stop_driver()
        self._read_progress()
        self._loop.watch_only_relays()
        failure = self._progress.failure
        if failure is not None:
            self._status = failure.status
        finish(self._container, self._status, failure.message if failure else "")
        return self._status

    def _start(self) -> None:
        attachment = self._attachment
        kept = [attachment.report, attachment.lifeline, *attachment.stdio, *attachment.outputs]
        kept += [attachment.terminal, self._lock, attachment.saved[0] if attachment.saved else -1]
        close_all_but(set(kept) - {-1})
        device = open_device()
        mounted_reader, mounted = os.pipe()
        reader, progress = os.pipe()
        self._driver = os.fork()
        if self._driver == 0:
            point_at_null(0, 1, 2)
            driver.main(DriverJob(self._container, self._config, device, mounted_reader, progress, self._lock))
