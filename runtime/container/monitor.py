"""The monitor process: parent of the driver and of the container's first process, owner of the container's lifetime.

It keeps the command's streams (hub.py), its log and the control socket (control.py), starts the command again where
that is asked for, and records the end. Whichever of the processes ends first, by any signal, the others end too and
nothing is left:

    first process ends   the monitor stops the driver, records the exit or removes the container
    driver dies          the monitor kills the first process, and goes on as above
    monitor dies         the kernel kills the first process (parent-death signal); the driver, which then has
                         nothing to serve, cleans up
    caller dies          the monitor sees its connection end and kills the first process, if the container is in
                         the foreground of its caller; before the container is made, it removes what there is

The kernel ends the rest: all processes of the pid namespace with the first, the mounts with their namespace. If all
die at once, the next `pyunion` command cleans up (store.sweep).
"""

import os
import signal
import time
from typing import NoReturn

from runtime.container import control, restart, signals
from runtime.container.caller import Caller
from runtime.container.console import restore
from runtime.container.driver import Serving, discard
from runtime.container.events import emit
from runtime.container.hub import Client, Hub
from runtime.container.life import Life
from runtime.container.logfile import Log
from runtime.container.progress import Failure, failure_of
from runtime.container.record import Container, bury, finish
from runtime.container.relay import Loop
from runtime.container.trace import mark
from runtime.errors import FAILURE, SIGNALLED

_PIPE_BYTES = 4096
_OUT_OF_MEMORY = b"pyunion: the kernel killed the command: it ran out of memory"


def main(container: Container, lock: int, caller: Caller, serving: Serving | None) -> NoReturn:
    """Run `container` to its end, the first time with the driver `serving`, as soon as the caller has made it; exit
    with its exit status."""
    status = FAILURE
    try:
        listener, caught = control.listen(container.run_directory), signals.catch(signals.PASSED_ON)
        message = control.hear(caller.connection)
        if message:
            monitor = _Monitor(container, lock, caller.told(*control.unpack_begin(message)), serving)
            status = monitor.run(listener, caught)
        else:
            _abandon(container, serving)
    finally:
        os._exit(status)


def _abandon(container: Container, serving: Serving | None) -> None:
    """The caller has ended, or thought better of it."""
    if serving is not None:
        discard(serving)
    bury(container, "the command that started it was killed")


class _Monitor:
    def __init__(self, container: Container, lock: int, caller: Caller, serving: Serving | None) -> None:
        self._container = container
        self._config = container.config()
        self._lock = lock
        self._caller = caller
        self._serving = serving
        self._loop = Loop()
        self._clients: list[Client] = []
        self._life: Life | None = None
        self._hub: Hub | None = None
        self._stopping = False
        self._out_of_memory = False
        self._listener = -1

    def run(self, listener: int, caught: int) -> int:
        """Run the container until it isn't to be started again: its last exit status.

        `listener` is its control socket, `caught` a pipe on which signals are heard of.
        """
        self._listen(listener, caught)
        policy = restart.Policy()
        while True:
            began_s = time.monotonic()
            status, failure, ran = self._run_once()
            delay_s = policy.next(self._container, status, ran_s=time.monotonic() - began_s if ran else -1.0)
            if delay_s is None or self._stopping or not self._container.exists():
                break
            self._record_end(status, "restarting")
            self._tell_end(status, failure)
            if not self._sleep(delay_s):
                break
        self._finish(status, failure)
        return status

    def _listen(self, listener: int, caught: int) -> None:
        self._loop.watch(caught, lambda: self._pass_on(os.read(caught, _PIPE_BYTES)))
        self._join(self._caller.connection, owner=True, streams=self._caller.streams)
        self._listener = listener
        self._loop.watch(self._listener, lambda: self._join(control.accept(self._listener), owner=False))

    def _join(self, fd: int, *, owner: bool, streams: bytes = b"") -> None:
        client = Client(fd, self._hear, self._input_is_full, owner=owner)
        client.streams = streams
        self._clients[:] = [one for one in self._clients if not one.ended]
        self._clients.append(client)
        self._loop.parties.append(client)
        if not owner and self._life is not None and self._life.started:
            client.send(control.RUNS)

    def _input_is_full(self) -> bool:
        return self._hub is not None and self._hub.full

    def _run_once(self) -> tuple[int, Failure | None, bool]:
        """The exit status, why the command didn't run, and whether it did."""
        config = self._config
        self._hub = Hub(self._loop, self._clients, self._open_log(), terminal=config.tty)
        self._life = Life(self._container, config, self._lock, self._loop, self._hub, self._caller.maps)
        serving, self._serving = self._serving, None
        try:
            return *self._life.run(serving, self._caller.size, self._on_start), self._life.started
        except Exception as error:
            failure = failure_of(error)
            return failure.status, failure, False
        finally:
            self._out_of_memory = self._life.out_of_memory

    def _open_log(self) -> Log | None:
        options = self._config.log
        if options.get("driver") == "none":
            return None
        return Log(self._container.log, options.get("max_bytes", 0), options.get("max_files", 1))

    def _on_start(self) -> None:
        mark("command runs")
        emit(self._container, self._config, "start")
        for client in self._clients:
            client.send(control.RUNS)

    def _hear(self, client: Client, message: bytes) -> None:
        letter, data = message[:1], message[1:]
        assert self._hub is not None
        if letter == control.INPUT:
            self._hub.type(data, last=client.owner)
        elif letter == control.ATTACH:
            client.streams = data
        elif letter == control.SIZE and self._life is not None:
            self._life.resize(control.unpack_size(data))
        elif letter == control.SIGNAL:
            self._pass_on(data)
        elif letter == control.UNREAD and client.owner:
            self._hub.forget(data)
        elif letter == control.NAMESPACES and self._life is not None:
            control.send_namespaces(client.fd, self._life.namespaces)
        elif letter == control.NETWORKS and self._life is not None:
            client.send(control.NETWORKS, self._life.follow_networks().encode(errors="backslashreplace"))
        elif letter == control.DETACH:
            client.owner = False
        elif letter == control.STOP:
            self._stopping = True
            client.send(control.STOP)
        elif not message and client.owner:
            self._on_owner_gone()

    def _on_owner_gone(self) -> None:
        self._stopping = True
        if self._life is not None:
            self._life.kill()
        if self._caller.terminal is not None:
            restore(*self._caller.terminal)

    def _pass_on(self, numbers: bytes) -> None:
        for number in numbers:
            if self._life is not None:
                self._life.signal(number)

    def _record_end(self, status: int, how: str) -> None:
        count = self._container.state().get("restarts", 0) + 1
        self._container.note_state(
            status=how, pid=0, pid_ticks=0, exit_code=status, finished_s=time.time(), restarts=count
        )
        emit(self._container, self._config, "die", exitCode=str(status))

    def _sleep(self, delay_s: float) -> bool:
        """Wait before the next start; requests are heard. Whether it is still to be."""
        self._life = None
        until_s = time.monotonic() + delay_s
        while not self._stopping and (left_s := until_s - time.monotonic()) > 0:
            self._loop.turn(left_s)
        return not self._stopping

    def _finish(self, status: int, failure: Failure | None) -> None:
        """Record the end; then nothing of the container is left but those who have yet to take what was sent."""
        self._life = None
        self._loop.forget(self._listener)
        os.close(self._listener)
        finish(self._container, status, failure.message if failure else "")
        if failure is None:  # who hears of it finds it ended
            emit(self._container, self._config, "die", exitCode=str(status))
        if not self._container.exists():
            emit(self._container, self._config, "destroy")
        os.close(self._lock)
        self._tell_end(status, failure)
        while any(client.behind for client in self._clients):
            self._loop.turn()

    def _tell_end(self, status: int, failure: Failure | None) -> None:
        killed = self._out_of_memory and status == SIGNALLED + signal.SIGKILL
        for client in self._clients:
            client.owner = False
            if killed and control.ERROR in client.streams:
                client.send(control.ERROR, _OUT_OF_MEMORY + (b"\r\n" if self._config.tty else b"\n"))
            if failure is not None:
                client.send(control.FAILED, f"{failure.status} {failure.message}".encode(errors="backslashreplace"))
            client.send(control.EXITED, b"%d" % status)
