"""The monitor process: parent of the driver and of the container's first process, owner of the container's lifetime.

Whichever of the processes ends first, by any signal, the others end too and nothing is left:

    first process ends   the monitor stops the driver, records the exit or removes the container
    driver dies          the monitor kills the first process, and goes on as above
    monitor dies         the kernel kills the first process (parent-death signal); the driver, which then has
                         nothing to serve, cleans up
    caller dies          the monitor sees the pipe `lifeline` end and kills the first process

The kernel ends the rest: all processes of the pid namespace with the first, the mounts with their namespace. If all
die at once, the next `pyunion` command cleans up (store.sweep).
"""

import os
import select
import signal
import time
from contextlib import suppress
from typing import NamedTuple, NoReturn

from runtime.container import driver, signals
from runtime.container.config import Config
from runtime.container.console import Settings, restore
from runtime.container.driver import DriverJob
from runtime.container.progress import Failure, Progress, send_failure
from runtime.container.record import Container, finish
from runtime.container.relay import Loop
from runtime.errors import FAILURE, SIGNALLED, describe
from unionfs.fuse.kernel import open_device
from unionfs.linux import process
from unionfs.linux.descriptors import close_all_but, point_at_null

_DRIVER_ENDS_WITHIN_MS = 10_000
"""An unmounted driver has only to close its files; one that takes longer hangs."""
_PIPE_BYTES = 4096


class Attachment(NamedTuple):
    """How the container hangs on its caller. Descriptors, which become the monitor's; -1 where there is none."""

    report: int
    """Pipe to the caller: why the command didn't run, if it didn't. Ends with the monitor."""
    lifeline: int
    """Pipe from the caller: numbers of signals to pass on. Ends with the caller."""
    stdio: tuple[int, int, int]
    """Pipes that the command gets as 0, 1 and 2 if it gets no terminal."""
    terminal: int
    """Socket through which the terminal's master goes to the caller."""
    size: tuple[int, int]
    """Rows and columns of the terminal."""
    callers: tuple[int, Settings] | None
    """The caller's own terminal and its settings, to be restored if the caller can't."""

    def descriptors(self) -> set[int]:
        """All that are open."""
        own = self.callers[0] if self.callers else -1
        return {self.report, self.lifeline, *self.stdio, self.terminal, own} - {-1}


def main(container: Container, config: Config, lock: int, attachment: Attachment) -> NoReturn:
    """Run `container` to its end; exit with its exit status."""
    status = FAILURE
    try:
        signals.block_all()
        os.setsid()
        os.chdir("/")
        close_all_but({*attachment.descriptors(), lock})
        point_at_null(0, 1, 2)
        process.set_title(f"pyunion: monitor of {config.name}")
        status, failure = _run(container, config, lock, attachment)
        finish(container, status, failure.message if failure else "")
        if failure is not None:
            send_failure(attachment.report, failure.status, failure.message)
    finally:
        os._exit(status)  # whatever happened: the code of the caller, further up the stack, is not ours to return to


def _run(container: Container, config: Config, lock: int, attachment: Attachment) -> tuple[int, Failure | None]:
    try:
        return _Monitor(container, config, lock, attachment).run()
    except OSError as error:
        return FAILURE, Failure(FAILURE, describe(error))
    except Exception as error:
        return FAILURE, Failure(FAILURE, f"{type(error).__name__}: {error}")


class _Monitor:
    def __init__(self, container: Container, config: Config, lock: int, attachment: Attachment) -> None:
        self._container = container
        self._config = config
        self._lock = lock
        self._attachment = attachment
        self._progress = Progress()
        self._loop = Loop()
        self._init = self._init_fd = -1
        self._driver = self._driver_fd = -1
        self._status: int | None = None
        self._cancelled: int | None = None

    def run(self) -> tuple[int, Failure | None]:
        """Start the two, wait for the end of both: the container's exit status, and why it didn't run."""
        try:
            reader = self._start()
            self._watch(reader)
            self._record_creation()
            while self._status is None:
                self._loop.turn()
        finally:
            self._kill_init()
            self._stop_driver()
        self._read_progress(reader)
        failure = self._progress.failure
        if failure is not None:
            return failure.status, failure
        return self._status if self._cancelled is None else self._cancelled, None

    def _start(self) -> int:
        """Fork the driver and the first process; the pipe on which both report."""
        attachment = self._attachment
        device = open_device()
        mounted_reader, mounted = os.pipe()
        reader, progress = os.pipe()
        os.set_blocking(reader, False)
        us = os.getpid()
        self._driver = os.fork()
        if self._driver == 0:
            driver.main(DriverJob(self._container, self._config, device, mounted_reader, progress, self._lock, us))
        # what the first process needs is imported while the driver imports, which takes longest, what it needs
        from runtime.container import init

        self._driver_fd = os.pidfd_open(self._driver)
        process.unshare(process.CLONE_NEWPID)
        self._init = os.fork()
        if self._init == 0:
            where = self._container.run_directory
            stdio, terminal, size = attachment.stdio, attachment.terminal, attachment.size
            init.main(init.Job(self._config, where, device, mounted, progress, stdio, terminal, size))
        self._init_fd = os.pidfd_open(self._init)
        for fd in {device, mounted_reader, mounted, progress, *attachment.stdio, attachment.terminal} - {-1}:
            os.close(fd)
        return reader

    def _watch(self, reader: int) -> None:
        caught = signals.catch(signals.PASSED_ON)
        lifeline = self._attachment.lifeline
        self._loop.watch(self._init_fd, self._on_init_end)
        self._loop.watch(self._driver_fd, lambda: self._on_driver_end(reader))
        self._loop.watch(reader, lambda: self._read_progress(reader))
        self._loop.watch(lifeline, lambda: self._on_lifeline(lifeline))
        self._loop.watch(caught, lambda: self._pass_on(os.read(caught, _PIPE_BYTES)))

    def _record_creation(self) -> None:
        changes: dict[str, object] = {"pid": self._init, "pid_ticks": process.start_ticks(self._init)}
        if not self._container.exists():
            self._container.write_config(self._config)
            changes.update(status="created", exit_code=0, error="")
        self._container.write_state(**changes)

    def _on_init_end(self) -> None:
        _, status = os.waitpid(self._init, 0)
        code = os.waitstatus_to_exitcode(status)
        self._status = code if code >= 0 else SIGNALLED - code
        self._loop.forget(self._init_fd)

    def _on_driver_end(self, reader: int) -> None:
        """The root filesystem is gone. A driver that ended orderly had seen the first process end its mount."""
        self._loop.forget(self._driver_fd)
        self._read_progress(reader)
        if self._driver_status() != 0:
            self._progress.fail(FAILURE, "root filesystem: its driver process ended unexpectedly")
        self._kill_init()

    def _read_progress(self, reader: int) -> None:
        """Take in all that the pipe holds now."""
        started = self._progress.started
        with suppress(BlockingIOError):
            while data := os.read(reader, _PIPE_BYTES):
                self._progress.feed(data)
            self._loop.forget(reader)
        if self._progress.started and not started:
            self._container.write_state(status="running", started_s=time.time())

    def _on_lifeline(self, lifeline: int) -> None:
        numbers = os.read(lifeline, _PIPE_BYTES)
        if numbers:
            self._pass_on(numbers)
            return
        self._loop.forget(lifeline)
        self._kill_init()
        if self._attachment.callers is not None:
            restore(*self._attachment.callers)

    def _pass_on(self, numbers: bytes) -> None:
        """Send signals to the command, through the first process. One that is still being set up just ends."""
        for number in numbers:
            if self._progress.started:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._init_fd, number)
            elif number in signals.ENDING:
                self._cancelled = SIGNALLED + number
                self._kill_init()

    def _kill_init(self) -> None:
        if self._status is None and self._init > 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)

    def _stop_driver(self) -> None:
        """Wait until the driver has nothing to serve. If all it wrote is to be removed anyway, don't wait."""
        if self._driver <= 0:
            return
        if self._init > 0 and not self._config.auto_remove:
            poll = select.poll()
            poll.register(self._driver_fd, select.POLLIN)
            poll.poll(_DRIVER_ENDS_WITHIN_MS)
        self._driver_status()

    def _driver_status(self) -> int:
        """End the driver, if it hasn't ended: its wait status."""
        if self._driver <= 0:
            return 0
        signal.pidfd_send_signal(self._driver_fd, signal.SIGKILL)  # a zombie takes no notice
        _, status = os.waitpid(self._driver, 0)
        self._driver = -1
        return status
