"""From requests to handlers, and from what they give to replies. No I/O but through the `Sender` it is given."""

import errno
import time
from typing import Protocol

from unionfs.fuse.direct import attributes, directories, files, names, protocol
from unionfs.fuse.direct.mount import EMPTY, Handler, Mount, Table
from unionfs.fuse.direct.protocol import Opcode
from unionfs.fuse.direct.request import Request, is_dying
from unionfs.fuse.direct.tasks import Answer, Tasks
from unionfs.fuse.direct.workers import Workers
from unionfs.fuse.errors import errno_of
from unionfs.fuse.log import log

_OPCODES = max(Opcode) + 1
_SILENT = (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.NOTIFY_REPLY)
"""Requests that must not be answered."""


class Sender(Protocol):
    """Where replies and notices go."""

    def reply(self, unique: int, answer: Answer) -> None: ...
    def refuse(self, unique: int, number: int) -> None: ...
    def drop_attributes(self, nodeid: int) -> None: ...
    def drop_listing(self, nodeid: int) -> None: ...
    def drop_name(self, nodeid: int, name: bytes) -> None: ...


class Dispatcher:
    """Carries the requests of one mount to their handlers."""

    def __init__(self, mount: Mount, sender: Sender, workers: Workers) -> None:
        self._mount = mount
        self._sender = sender
        self._workers = workers
        self._tasks = Tasks(workers, self._answer, is_dying)
        self._changed = mount.union.changed
        self._moved = mount.union.moved
        self._requests = mount.requests
        self._preload = mount.preload
        self._handlers: list[Handler | None] = [None] * _OPCODES
        tables: tuple[Table, ...] = (names.HANDLERS, attributes.HANDLERS, directories.HANDLERS, files.HANDLERS)
        for table in tables:
            for opcode, handler in table.items():
                self._handlers[opcode] = handler
        self._handlers[Opcode.INTERRUPT] = self._interrupt
        self._handlers[Opcode.DESTROY] = _destroy

    def handle(self, request: Request) -> None:
        """Answer `request`, now or when what it waits for is done. Nothing that it is or does ends the mount."""
        opcode = request.opcode
        handler = self._handlers[opcode] if opcode < _OPCODES else None
        if handler is None:
            if opcode not in _SILENT:
                self._sender.refuse(request.unique, errno.ENOSYS)
            return
        self._requests[opcode] += 1
        try:
            answer = handler(self._mount, request)
        except Exception as error:
            if opcode in _SILENT:
                errno_of(error)  # into the log, if it is a bug
            else:
                self._answer(request.unique, error)
            return
        if answer is None:
            return
        if isinstance(answer, bytes | bytearray | memoryview):
            self._answer(request.unique, answer)
            if self._preload.expected is not None:
                self._preload.begin()  # while who asked is busy with the answer
        else:
            self._tasks.start(request.unique, answer, request.pid)

    def _answer(self, unique: int, answer: Answer | Exception) -> None:
        if self._changed or self._moved:
            self._tell_changes()
        if self._mount.replaced:
            self._tell_names()
        if isinstance(answer, OverflowError):  # a number that no system call takes
            self._sender.refuse(unique, errno.EINVAL)
        elif isinstance(answer, Exception):
            self._sender.refuse(unique, errno_of(answer))
        else:
            self._sender.reply(unique, answer)

    def _tell_changes(self) -> None:
        """Have the kernel ask again for attributes and listings that a verb changed without being about them."""
        for node in self._changed:
            for nodeid in self._mount.nodeids.all_of(node):
                self._sender.drop_attributes(nodeid)
        for directory in self._moved:
            self._sender.drop_listing(self._mount.nodeids.of(directory))
        self._changed.clear()
        self._moved.clear()

    def _tell_names(self) -> None:
        """Have the kernel look up names that mean another nodeid now, in a thread: it may wait for a reply of ours."""
        nodeids = self._mount.nodeids
        names = [(nodeids.of(parent), name) for node in self._mount.replaced for parent, name in node.names]
        self._mount.replaced.clear()

        def drop() -> None:
            for parent, name in names:
                self._sender.drop_name(parent, name)

        self._workers.submit(drop, lambda error: None)

    def _interrupt(self, mount: Mount, request: Request) -> None:
        (unique,) = request.fields(protocol.INTERRUPT_IN)
        self._tasks.interrupt(unique)


def _destroy(mount: Mount, request: Request) -> Answer:
    return EMPTY


class Tracer(Dispatcher):
    """The same, with every request in the log, for -d: what was asked, what was answered, how long it took."""

    def __init__(self, mount: Mount, sender: Sender, workers: Workers) -> None:
        super().__init__(mount, sender, workers)
        self._open: dict[int, tuple[str, float]] = {}

    def handle(self, request: Request) -> None:
        try:
            name = Opcode(request.opcode).name.lower()
        except ValueError:
            name = f"opcode_{request.opcode}"
        shown = f"{name}({request.nodeid}, {bytes(request.body[:80])!r})"
        self._open[request.unique] = shown, time.perf_counter()
        if request.opcode in _SILENT:
            log().debug("%s", shown)
        super().handle(request)

    def _answer(self, unique: int, answer: Answer | Exception) -> None:
        shown, started = self._open.pop(unique)
        said = f"{type(answer).__name__} {answer}" if isinstance(answer, Exception) else f"{len(answer)} bytes"
        log().debug("%s: %s, %.0f µs", shown, said, (time.perf_counter() - started) * 1e6)
        super()._answer(unique, answer)
