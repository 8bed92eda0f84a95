"""One run of a container: the driver that serves its root filesystem, and its first process.

Either ends with the other: the end of the first process ends the mount namespace and with it the union, which leaves
the driver nothing to serve; without a driver the first process is killed.
"""

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from runtime.container import (
    attached,
    cgroups,
    console,
    control,
    driver,
    init,
    mapped,
    namespaces,
    network,
    signals,
    stragglers,
)
from runtime.container.config import Config, Maps
from runtime.container.driver import Serving
from runtime.container.events import emit
from runtime.container.hub import Hub
from runtime.container.progress import Failure, Progress
from runtime.container.record import Container
from runtime.container.relay import Loop
from runtime.container.trace import mark
from runtime.errors import FAILURE, SIGNALLED, Refusal
from unionfs.linux import process

if TYPE_CHECKING:
    from runtime.container.cgroups.group import Group
    from runtime.container.health import Checks
    from runtime.container.image_mounts import ImageMount

_DRIVER_ENDS_WITHIN_MS = 10_000
"""An unmounted driver has only to close its files; one that takes longer hangs."""
_PIPE_BYTES = 4096
_NONE = (-1, -1)
_ENDING = signals.ENDING | {signal.SIGKILL}


class Life:
    """From the first fork to the last wait."""

    def __init__(
        self, container: Container, config: Config, lock: int, loop: Loop, hub: Hub, maps: Maps | None
    ) -> None:
        self._container = container
        self._config = config
        self._lock = lock
        self._loop = loop
        self._hub = hub
        self._maps = maps
        self._doors = _NONE
        self.namespaces: list[int] = []
        """For an ordinary user's commands that come later, as nobody else can open them; and to end all in them."""
        self._progress = Progress()
        self._init = self._init_fd = -1
        self._driver = self._driver_fd = -1
        self._reader = self._go = -1
        self._lent: set[int] = set()
        """What only the processes that are forked next are to have."""
        self._images: list[ImageMount] = []
        self._group: Group | None = None
        self._checks: Checks | None = None
        self._master = -1
        self._size: tuple[int, int] | None = None
        self._on_start: Callable[[], None] = lambda: None
        self._status: int | None = None
        self._cancelled: int | None = None
        self.out_of_memory = False
        """Whether the kernel ended a process of the container for want of memory. Known in the end."""

    @property
    def started(self) -> bool:
        """Whether the command ran."""
        return self._progress.started

    def run(
        self, serving: Serving | None, size: tuple[int, int], on_start: Callable[[], None]
    ) -> tuple[int, Failure | None]:
        """Start what isn't there, wait for the end of both: the container's exit status, and why it didn't run."""
        self._on_start = on_start
        try:
            self._start(serving, size)
            self._watch()
            self._record_creation()
            while self._status is None:
                self._loop.turn(None if self._checks is None else self._checks.step())
        finally:
            self._close_lent()
            self.kill()
            self._end_processes()
            self._stop_driver()
            self._take_down()
        failure = self._progress.failure
        if failure is not None:
            return failure.status, failure
        status = self._status if self._cancelled is None else self._cancelled
        return FAILURE if status is None else status, None

    def signal(self, number: int) -> None:
        """Send a signal to the command, through the first process, where it waits until the command is there.

        One that asks to end doesn't wait: as long as nothing was heard of the command, the first process ends. One that
        stops would stop the first process.
        """
        if number == signal.SIGSTOP:
            from runtime.container import processes

            processes.stop_first_child(self._init)
        elif self._progress.started or number not in _ENDING:
            if self._init > 0:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._init_fd, number)
        else:
            self._cancelled = SIGNALLED + number
            self.kill()

    def resize(self, size: tuple[int, int]) -> None:
        """Give the terminal that many rows and columns."""
        self._size = size
        if self._master >= 0:
            with suppress(OSError):
                console.set_size(self._master, size)

    def kill(self) -> None:
        """End the container, by force."""
        if self._status is None and self._init > 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)
            if self._group is not None and self._group.is_frozen():
                self._group.thaw()  # a frozen process doesn't die

    def _start(self, serving: Serving | None, size: tuple[int, int]) -> None:
        """Fork the first process, and the driver unless it is there."""
        config = self._config
        if config.maps is not None:
            serving = self._fork_apart(serving)
        serving = serving or driver.fork(self._container, self._lock, self._maps)
        driver.begin(serving)
        device, mounted, progress = serving.device, serving.mounted, serving.progress
        self._driver, self._reader = serving.pid, serving.reader
        self._lend(device, mounted, progress, serving.user)
        os.set_blocking(self._reader, False)
        self._driver_fd = os.pidfd_open(self._driver)
        self._group = cgroups.create(self._container.id, config.limits, config.privileged)
        planned = namespaces.plan(config, self._container.places, is_root=self._maps is None)
        self._lend(*planned.descriptors())
        if any(volume.image for volume in config.volumes):
            self._serve_images()
        hosts, resolv_conf = attached.texts(self._container, config, is_root=self._maps is None)
        mark("control group made")
        stdin = os.pipe() if config.interactive and not config.tty else _NONE
        stdout, stderr = (_NONE, _NONE) if config.tty else (os.pipe(), os.pipe())
        channel = console.channel() if config.tty else _NONE
        go, self._go = os.pipe()
        wanted_later = self._maps is not None or "pid" in config.namespaces
        self._doors = console.channel() if wanted_later else _NONE
        theirs = (stdin[0], stdout[1], stderr[1])
        self._lend(go, *theirs, channel[1], self._doors[1])
        if serving.user >= 0:
            mapped.give_to_root(config, theirs)
        born = os.pipe() if serving.user >= 0 else _NONE
        with signals.blocked():
            self._init = namespaces.fork(planned) if serving.user < 0 else os.fork()
            if self._init == 0:
                where = self._container.run_directory
                pipes = (device, mounted, progress, go, theirs, channel[1])
                more = (hosts, resolv_conf, self._container.filters, config.maps or self._maps, self._doors[1])
                last = (serving.user, born[1], [image.connection for image in self._images])
                init.main(init.Job(config, where, *pipes, size, planned, self._group, *more, *last))
        if serving.user >= 0:
            os.close(born[1])
            self._init = mapped.born(self._init, born[0])
        self._init_fd = os.pidfd_open(self._init)
        mark("first process forked")
        self._close_lent()
        if config.tty:
            self._loop.watch(channel[0], lambda: self._on_terminal(channel[0]))
        else:
            self._hub.connect(stdin[1], {control.OUTPUT: stdout[0], control.ERROR: stderr[0]})

    def _serve_images(self) -> None:
        from runtime.container import image_mounts

        for volume in self._config.volumes:
            if volume.image:
                self._images.append(image_mounts.serve(volume, self._maps))
                self._lend(*self._images[-1].connection)

    def _lend(self, *fds: int) -> None:
        self._lent |= {*fds} - {-1}

    def _close_lent(self) -> None:
        for fd in self._lent:
            os.close(fd)
        self._lent.clear()

    def _fork_apart(self, serving: Serving | None) -> Serving:
        """A driver whose connection belongs to the container's user namespace, in place of one that can't have it."""
        if serving is not None:
            driver.discard(serving)
        space = mapped.open_space(self._config, self._container.places)
        return driver.fork(self._container, self._lock, self._maps, space)

    def _watch(self) -> None:
        self._loop.watch(self._init_fd, self._on_init_end)
        self._loop.watch(self._driver_fd, self._on_driver_end)
        self._loop.watch(self._reader, self._read_progress)

    def _record_creation(self) -> None:
        self._container.write_state(pid=self._init, pid_ticks=process.start_ticks(self._init), oom_killed=False)
        if self._config.pidfile:
            with open(self._config.pidfile, "w", encoding="ascii") as file:
                file.write(f"{self._init}\n")
        if not network.is_ours(self._config):
            self._let_go()

    def _let_go(self) -> None:
        if self._config.maps is not None:
            from runtime.container import rlimits

            rlimits.apply(self._config, self._init)  # it may not raise them itself
        with suppress(BrokenPipeError):  # it has failed, which is heard of soon
            os.write(self._go, b"g")

    def _connect(self) -> None:
        """The first process has its network namespace: connect it; meanwhile it goes on and waits in the end."""
        namespace = None if self._maps is None else self.namespaces[namespaces.KINDS.index("net")]
        try:
            attached.connect(self._container, self._config, self._init, namespace)
        except Refusal as error:
            self._read_progress()  # if the first process has failed, that is why this did
            self._progress.fail(error.status, str(error))
            self.kill()
            return
        mark("network connected")
        self._let_go()

    def follow_networks(self) -> str:
        """The container is on other networks now: have it know its addresses, and find names. Nothing, or why not."""
        return attached.follow(self._container, self._config, self._init, self._init_fd)

    def _on_terminal(self, channel: int) -> None:
        """The first process has made the terminal: its master is ours to serve."""
        self._loop.forget(channel)
        self._master = console.receive(channel)
        if self._master < 0:
            return
        if self._size is not None:
            self.resize(self._size)
        self._hub.connect(self._master, {control.OUTPUT: self._master})

    def _on_init_end(self) -> None:
        _, status = os.waitpid(self._init, 0)
        code = os.waitstatus_to_exitcode(status)
        self._status = code if code >= 0 else SIGNALLED - code
        self._loop.forget(self._init_fd)

    def _on_driver_end(self) -> None:
        """The root filesystem is gone. A driver that ended orderly had seen the first process end its mount."""
        self._loop.forget(self._driver_fd)
        self._read_progress()
        if self._driver_status() != 0:
            self._progress.fail(FAILURE, "root filesystem: its driver process ended unexpectedly")
        self.kill()

    def _read_progress(self) -> None:
        """Take in all that the pipe holds now; that the command runs may be heard when it has ended."""
        started, unshared = self._progress.started, self._progress.unshared
        with suppress(BlockingIOError):
            while data := os.read(self._reader, _PIPE_BYTES):
                self._progress.feed(data)
            self._loop.forget(self._reader)
        if self._progress.unshared and not unshared and self._doors != _NONE:
            self.namespaces = namespaces.receive(self._doors[0])
        if self._progress.unshared and not unshared and network.is_ours(self._config):
            self._connect()
        if self._progress.started and not started:
            self._container.write_state(status="running", started_s=time.time())
            self._hub.listens = True
            self._on_start()
            if self._status is None:
                self._begin_checks()

    def _begin_checks(self) -> None:
        """Have its health looked after, if it says how."""
        if self._config.health.get("Test", ["NONE"]) == ["NONE"]:
            return
        from runtime.container.health import Checks, Way

        within = self._config.maps is None
        doors = namespaces.Doors(self._init_fd, [] if self._maps is None else self.namespaces, within)
        way = Way(doors, self._config.maps or self._maps)
        self._checks = Checks(self._container, self._config, self._loop, way)

    def _end_processes(self) -> None:
        """Where its pids aren't its own some may have outlived the first; each keeps what the driver serves."""
        if self._reader >= 0:
            self._read_progress()
        if self._checks is not None:
            self._checks.stop()
        if self._group is not None:
            self.out_of_memory = self._group.oom_killed()
            if self.out_of_memory:
                self._container.note_state(oom_killed=True)
                emit(self._container, self._config, "oom")
            self._group.remove()
        if self.namespaces and "pid" in self._config.namespaces:
            stragglers.end(self.namespaces[namespaces.KINDS.index("mnt")])
        for fd in self.namespaces:
            os.close(fd)
        self.namespaces = []

    def _stop_driver(self) -> None:
        """Wait until the driver has nothing to serve. If all it wrote is to be removed anyway, don't wait."""
        if self._driver <= 0:
            return
        kept = self._container.exists() and not self._container.config().auto_remove  # `restart` may have changed that
        if self._init > 0 and kept:
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

    def _take_down(self) -> None:
        if self._images:
            from runtime.container import image_mounts

            for image in self._images:
                image_mounts.end(image)
        self._hub.end()
        if self._reader >= 0:
            self._read_progress()
        for fd in (self._init_fd, self._driver_fd, self._reader, self._go):
            if fd >= 0:
                self._loop.forget(fd)
                os.close(fd)
