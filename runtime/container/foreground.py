"""A container in the foreground of whoever started it: stdio, terminal, signals and exit status pass through here.

The command gets pipes, or a terminal of its own, never our descriptors: through /proc/self/fd a process inside could
open the file behind one again, for writing too, and what it does to a terminal's flags would outlive it.
"""

import os
import signal
from contextlib import suppress

from runtime.container import console, monitor, signals
from runtime.container.config import Config
from runtime.container.monitor import Attachment
from runtime.container.record import Container
from runtime.container.relay import Loop, Relay
from runtime.container.store import Store
from runtime.errors import Refusal

_END_OF_FILE = b"\x04"  # what a terminal in its usual mode takes for it
_MESSAGE_BYTES = 4096
_DEFAULT_SIZE = (24, 80)


def run(store: Store, container: Container, config: Config, lock: int) -> int:
    """Run `container` to its end: the exit status of its command. Raises Refusal if it didn't run."""
    report, reports = os.pipe()
    life, lifeline = os.pipe()
    ends = _Ends(config)
    child = os.fork()
    if child == 0:
        monitor.main(container, config, lock, ends.attach(reports, life))
    for fd in (lock, reports, life, *ends.theirs()):
        os.close(fd)
    message = _Session(config, ends, report, lifeline).run()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        container.wait_until_free()
        store.sweep()
        raise Refusal("the container's monitor process was killed")
    if message:
        raise Refusal(message, code)
    return code


class _Ends:
    """Pairs of descriptors between the command and us: (reading, writing), -1 where there is none."""

    def __init__(self, config: Config) -> None:
        none = (-1, -1)
        self.stdin = os.pipe() if config.interactive and not config.tty else none
        self.stdout = none if config.tty else os.pipe()
        self.stderr = none if config.tty else os.pipe()
        self.terminal = console.channel() if config.tty else none
        self.settings = console.settings(0) if config.tty and config.interactive else None

    def attach(self, report: int, lifeline: int) -> Attachment:
        """The command's side, for the monitor."""
        stdio = (self.stdin[0], self.stdout[1], self.stderr[1])
        callers = (os.dup(0), self.settings) if self.settings is not None else None
        return Attachment(report, lifeline, stdio, self.terminal[1], _size(), callers)

    def theirs(self) -> set[int]:
        """Those of the command's side."""
        return {self.stdin[0], self.stdout[1], self.stderr[1], self.terminal[1]} - {-1}


class _Session:
    def __init__(self, config: Config, ends: _Ends, report: int, lifeline: int) -> None:
        self._config = config
        self._ends = ends
        self._lifeline = lifeline
        self._loop = Loop()
        self._message = b""
        self._going_on = True
        self._channel = ends.terminal[0]
        self._master = -1
        self._outputs = 0
        caught = signals.catch({*signals.PASSED_ON, signal.SIGWINCH})
        self._loop.watch(report, lambda: self._on_report(report))
        self._loop.watch(caught, lambda: self._on_signals(os.read(caught, _MESSAGE_BYTES)))

    def run(self) -> str:
        """Serve until the monitor has ended and all output is out: what it complained about, or nothing."""
        self._connect()
        try:
            while self._going_on:
                self._loop.turn()
            if self._channel >= 0:
                self._on_terminal()
            while self._outputs:
                self._loop.turn()
        finally:
            if self._ends.settings is not None:
                console.restore(0, self._ends.settings)
        return self._message.decode(errors="replace").strip().partition(" ")[2]

    def _connect(self) -> None:
        ends = self._ends
        if self._config.tty:
            self._loop.watch(self._channel, self._on_terminal)
            return
        self._copy_out(ends.stdout[0], 1)
        self._copy_out(ends.stderr[0], 2)
        if self._config.interactive:
            self._loop.relays.append(Relay(0, ends.stdin[1], lambda: os.close(ends.stdin[1])))

    def _copy_out(self, source: int, sink: int) -> None:
        def on_end() -> None:
            os.close(source)  # if it is our reader who left, the command is to know
            self._outputs -= 1

        self._loop.relays.append(Relay(source, sink, on_end))
        self._outputs += 1

    def _on_terminal(self) -> None:
        """The terminal was made: from now on it and ours are one."""
        channel, self._channel = self._channel, -1
        self._loop.forget(channel)
        self._master = master = console.receive(channel)
        if master < 0:
            return
        if self._ends.settings is not None:
            console.make_raw(0)
        typing = Relay(0, master, lambda: self._end_of_input(master))

        def on_end() -> None:
            typing.ended = True
            os.close(master)
            self._master = -1
            self._outputs -= 1

        if self._config.interactive:
            self._loop.relays.append(typing)
        self._loop.relays.append(Relay(master, 1, on_end))
        self._outputs += 1

    def _end_of_input(self, master: int) -> None:
        with suppress(OSError):
            os.write(master, _END_OF_FILE)

    def _on_report(self, report: int) -> None:
        data = os.read(report, _MESSAGE_BYTES)
        self._message += data
        if not data:
            self._loop.forget(report)
            self._going_on = False

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number != signal.SIGWINCH:
                with suppress(BrokenPipeError):
                    os.write(self._lifeline, bytes((number,)))
            elif self._master >= 0:
                console.set_size(self._master, _size())


def _size() -> tuple[int, int]:
    for fd in (0, 1, 2):
        with suppress(OSError):
            return console.get_size(fd)
    return _DEFAULT_SIZE
