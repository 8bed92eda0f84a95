"""A scenario in a process of its own, in which one system call fails or is the last one; and what is left then."""

import errno
import os
import pickle
import select
import signal
import socket
import threading
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.scenarios import Scenario
from tests.faults.world import Seen, seen_by_verbs
from tests.support import syscalls
from tests.unit.core.inprocess import InProcess
from unionfs.core.inodes import Dir, Node
from unionfs.linux import process

KILL = 0
_MESSAGE_BYTES = 1 << 20


class Fault(NamedTuple):
    """What happens to the call `at`, counted from 0."""

    at: int
    name: str
    code: int
    """The errno it returns; KILL: the process dies instead of making it."""
    lasting: bool = False
    """All calls after it that change something fail too, until the verb is over."""
    looks: bool = False
    """The call changes nothing itself."""

    def __str__(self) -> str:
        what = "killed" if self.code == KILL else errno.errorcode[self.code]
        return f"{what}{' from then on' if self.lasting else ''} at call {self.at}, {self.name}"


class Report(NamedTuple):
    """What the process says of itself."""

    code: int
    """0: the verb succeeded; otherwise its errno."""
    afterwards: Seen
    """The tree in the same process, after the verb."""
    retry_code: int = 0
    """What the verb told when it was tried again, if it had failed."""
    retried: Seen | None = None
    """The tree after that."""


class Outcome(NamedTuple):
    """What became of a run."""

    calls: list[syscalls.Call]
    injected: bool
    report: Report | None
    """None: it was killed."""


class Broken(AssertionError):
    """The process met what it should not."""


def union_in(tmp: Path, lowers: list[Path], scenario: Scenario) -> InProcess:
    """A union with its upper and workdir below `tmp`."""
    fs = InProcess(tmp, lowers=0, **scenario.options)
    fs.lowers = lowers
    return fs


def run(tmp: Path, lowers: list[Path], scenario: Scenario, fault: Fault | None, *, known: bool) -> Outcome:
    """Run the scenario over fresh upper and workdir in `tmp`. `known`: all nodes are in memory before.

    Raises Broken: the process failed otherwise than by an errno of the verb.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MESSAGE_BYTES)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE_BYTES)
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            process.die_with_parent(signal.SIGKILL)
            _watched(tmp, lowers, scenario, theirs, known=known)
        except BaseException:
            theirs.send(pickle.dumps(traceback.format_exc()[-20000:]))
        finally:
            os._exit(0)
    theirs.close()
    try:
        with ours:
            return _Supervisor(ours, pid, fault).run()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _watched(tmp: Path, lowers: list[Path], scenario: Scenario, supervisor: socket.socket, *, known: bool) -> None:
    fs = union_in(tmp, lowers, scenario)
    scenario.prepare(fs)
    assert not fs.union.read_only
    if known:
        _keep_all(fs)
    code = _act_watched(fs, scenario, supervisor)
    fs.union.check()
    assert not fs.union.handles, "a handle is left open"
    assert not any(node.opens for node in fs.union.inodes), "a node is left open"
    _check_directories(fs)
    report = Report(code, seen_by_verbs(fs))
    if code:
        code = 0
        try:
            scenario.act(fs)
        except OSError as error:
            code = error.errno or -1
        fs.union.check()
        report = report._replace(retry_code=code, retried=seen_by_verbs(fs))
    supervisor.send(pickle.dumps(report))


def _check_directories(fs: InProcess) -> None:
    """What is open of the upper's directories, or known of them, is what is there."""
    for node in fs.union.inodes:
        if isinstance(node, Dir) and node.upper is not None and not node.dead:
            there = os.stat(os.path.join(os.fsencode(fs.upper), node.path()))
            assert node.real == (there.st_dev, there.st_ino), "another directory is known"
            assert os.path.samestat(os.fstat(fs.union.fds.fd(node.upper)), there), "another directory is open"


def _act_watched(fs: InProcess, scenario: Scenario, supervisor: socket.socket) -> int:
    """Run the verb in a thread of its own, which alone is watched; its errno, 0 if it succeeds."""
    ended: list[BaseException | None] = []

    def act() -> None:
        listener = syscalls.watch()
        socket.send_fds(supervisor, [b"watched"], [listener])
        os.close(listener)
        try:
            scenario.act(fs)
            ended.append(None)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    if ended[0] is None:
        return 0
    if isinstance(ended[0], OSError) and ended[0].errno is not None:
        return ended[0].errno
    raise ended[0]


def _keep_all(fs: InProcess) -> None:
    """Read every directory, and hold every node as a client's cache does."""
    seen = seen_by_verbs(fs)
    kept: set[Node] = set()
    for path in seen.tree:
        node = fs.node(path if path != "." else "")
        if node not in kept:
            node.lookups += 1
            kept.add(node)
    seen_by_verbs(fs)


class _Supervisor:
    """Answers the calls of the process while it runs the verb."""

    def __init__(self, connection: socket.socket, pid: int, fault: Fault | None) -> None:
        self.connection = connection
        self.pid = pid
        self.fault = fault
        self.calls: list[syscalls.Call] = []
        self.injected = False
        self.poll = select.poll()
        self.report: Report | None = None

    def run(self) -> Outcome:
        message, descriptors, _, _ = socket.recv_fds(self.connection, _MESSAGE_BYTES, 1)
        if not descriptors:
            raise Broken(pickle.loads(message))
        listener = descriptors[0]
        try:
            self.poll.register(self.connection, select.POLLIN)
            self.poll.register(listener, select.POLLIN)
            while self._step(listener, dict(self.poll.poll())):
                pass
        finally:
            os.close(listener)
        return Outcome(self.calls, self.injected, self.report)

    def _step(self, listener: int, ready: dict[int, int]) -> bool:
        """Deal with what is ready; whether there may be more."""
        if self.connection.fileno() in ready:
            message = self.connection.recv(_MESSAGE_BYTES)
            return self._end(pickle.loads(message)) if message else False
        call = syscalls.receive(listener) if ready[listener] & select.POLLIN else None
        if call is None:  # the thread has ended, the process goes on
            self.poll.unregister(listener)
            return True
        self.calls.append(call)
        return self._answer(listener, call)

    def _answer(self, listener: int, call: syscalls.Call) -> bool:
        fault, at = self.fault, len(self.calls) - 1
        hit = fault is not None and (at == fault.at or (at > fault.at and fault.lasting and call.changes))
        if fault is None or not hit:
            syscalls.let(listener, call)
            return True
        if at == fault.at:
            self.injected = call.name == fault.name
        if fault.code == KILL:
            os.kill(self.pid, signal.SIGKILL)
            return False
        syscalls.fail(listener, call, fault.code)
        return True

    def _end(self, message: Any) -> bool:
        if isinstance(message, str):
            raise Broken(message)
        self.report = message
        return False
