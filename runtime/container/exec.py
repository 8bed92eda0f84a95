"""A further command in a running container.

    pyunion exec ──fork──► guard ──fork──► the command, in the container's namespaces
     streams, terminal      waits, reports; ends with `pyunion exec` unless detached

What the command may do is what the container's own may. Until it is executed, its process is the host's Python
interpreter among the container's files: as with the first process (init.py), all it needs is imported before, import
is switched off, and it can't be looked into.
"""

import os
import signal
import socket  # noqa: F401  what console imports later couldn't be imported then
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from runtime.container import confine, console, control, mapped, namespaces, rlimits, signals, userns, users
from runtime.container.caller import Wish
from runtime.container.capabilities import EVERY
from runtime.container.command import Command
from runtime.container.command import run as become
from runtime.container.config import Config, Maps
from runtime.container.confine import Confinement
from runtime.container.hub import Client, Hub
from runtime.container.init import environment, switch_import_off
from runtime.container.progress import failure_of, send_failure
from runtime.container.record import Container
from runtime.container.relay import Loop
from runtime.container.session import Session, result
from runtime.errors import SIGNALLED, Refusal
from unionfs.linux import process
from unionfs.linux.descriptors import close_all_but, point_at_null

if TYPE_CHECKING:
    from runtime.container.cgroups.group import Group

_NONE = (-1, -1)
_PIPE_BYTES = 4096


class Asked(NamedTuple):
    """What to run."""

    args: list[str]
    env: list[str]
    user: str
    """Nothing: the container's."""
    workdir: str
    """Nothing: the container's."""
    interactive: bool
    tty: bool
    privileged: bool


class _Job(NamedTuple):
    asked: Asked
    config: Config
    doors: namespaces.Doors
    filters: str
    """Directory of compiled filters of system calls."""
    group: "Group"
    size: tuple[int, int]
    maps: Maps | None
    """Of the container's user namespace, if that isn't the machine's."""
    lent: tuple[int, console.Settings] | None
    """The caller's own terminal, as console.lend() has it."""


def run(container: Container, asked: Asked, wish: Wish) -> int:
    """Run a command as `asked`: its exit status, or 0 if it is left to itself. Raises Refusal."""
    doors = namespaces.open_doors(container, is_root=os.geteuid() == 0)
    config = container.config()
    lent = console.lend() if asked.tty and wish.stdin else None
    maps = config.maps or (userns.maps() if userns.needed() else None)
    ours, guard = begin(container, config, asked, doors, maps, wish.streams, lent)
    if lent is not None:
        os.close(lent[0])
    for fd in doors.descriptors():
        os.close(fd)
    ended = Session(ours, wish).run()
    if ended.status is not None or not ended.told:
        with suppress(ChildProcessError):
            os.waitpid(guard, 0)
    return result(ended)


def begin(
    container: Container,
    config: Config,
    asked: Asked,
    doors: namespaces.Doors,
    maps: Maps | None,
    streams: bytes,
    lent: tuple[int, console.Settings] | None = None,
) -> tuple[int, int]:
    """Start a command: a connection to its guard, as in control.py, and that one's pid. Raises Refusal.

    `streams`: to which it is attached, before anything can come there. `maps` and `lent` as in _Job.
    """
    from runtime.container import cgroups

    job = _Job(
        asked,
        config,
        doors,
        container.filters,
        cgroups.find(container.id, config.limits),
        console.own_size(),
        maps,
        lent,
    )
    ours, theirs = control.pair()
    control.attach(ours, streams)
    guard = os.fork()
    if guard == 0:
        _guard(job, theirs)
    os.close(theirs)
    return ours, guard


def _guard(job: _Job, connection: int) -> NoReturn:
    try:
        signals.block_all()
        os.setsid()
        os.chdir("/")
        close_all_but({*job.doors.descriptors(), connection, *(job.lent or ())[:1]})
        point_at_null(0, 1, 2)
        process.set_title(f"pyunion: exec in {job.config.name}")
        process.make_undumpable()
        _Guard(job, connection).run()
    finally:
        os._exit(0)


class _Guard:
    """The parent of the command, outside."""

    def __init__(self, job: _Job, connection: int) -> None:
        self._job = job
        self._loop = Loop()
        self._client = Client(connection, self._hear, lambda: self._hub.full, owner=True)
        self._hub = Hub(self._loop, [self._client], None, terminal=job.asked.tty)
        self._hub.listens = True
        self._loop.parties.append(self._client)
        self._pid = self._pidfd = self._master = -1
        self._failure = b""
        self._status: int | None = None

    def run(self) -> None:
        """Start the command and serve it to its end."""
        try:
            self._start()
            while self._status is None:
                self._loop.turn()
        except (Refusal, OSError) as error:
            failure = failure_of(error)
            text = f"{failure.status} {failure.message}"
            self._failure, self._status = text.encode(errors="backslashreplace"), failure.status
        self._hub.end()
        if self._failure:
            self._client.send(control.FAILED, self._failure.rstrip())
            self._status = int(self._failure.partition(b" ")[0])
        self._client.send(control.EXITED, b"%d" % (self._status or 0))
        while self._client.behind:
            self._loop.turn()

    def _start(self) -> None:
        asked = self._job.asked
        errors, writing = os.pipe()
        stdin = os.pipe() if asked.interactive and not asked.tty else _NONE
        stdout, stderr = (_NONE, _NONE) if asked.tty else (os.pipe(), os.pipe())
        channel = console.channel() if asked.tty else _NONE
        theirs = (stdin[0], stdout[1], stderr[1])
        if not userns.needed():  # else they are the user's, who has an id inside
            mapped.give_to_root(self._job.config, theirs)
        namespaces.join_pids(self._job.doors, self._job.config)
        confined = _confinement(self._job)
        try:
            self._pid = os.fork()
        except OSError:  # ENOMEM: its first process has ended
            raise Refusal(f"container {self._job.config.name} is not running", status=1) from None
        if self._pid == 0:
            _enter(self._job, confined, theirs, channel[1], writing)
        self._pidfd = os.pidfd_open(self._pid)
        for fd in {writing, *theirs, channel[1]} - {-1}:
            os.close(fd)
        if asked.tty:
            self._loop.watch(channel[0], lambda: self._on_terminal(channel[0]))
        else:
            self._hub.connect(stdin[1], {control.OUTPUT: stdout[0], control.ERROR: stderr[0]})
        self._loop.watch(errors, lambda: self._on_progress(errors))
        self._loop.watch(self._pidfd, self._on_end)

    def _on_terminal(self, channel: int) -> None:
        self._loop.forget(channel)
        self._master = console.receive(channel)
        if self._master >= 0:
            self._hub.connect(self._master, {control.OUTPUT: self._master})

    def _on_progress(self, errors: int) -> None:
        """Its end alone means that the command is executed."""
        data = os.read(errors, _PIPE_BYTES)
        self._failure += data
        if not data:
            self._loop.forget(errors)
            if not self._failure:
                self._client.send(control.RUNS)

    def _on_end(self) -> None:
        _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._status = code if code >= 0 else SIGNALLED - code
        self._loop.forget(self._pidfd)

    def _hear(self, client: Client, message: bytes) -> None:
        letter, data = message[:1], message[1:]
        if letter == control.ATTACH:
            client.streams = data
        elif letter == control.INPUT:
            self._hub.type(data, last=True)
        elif letter == control.SIZE and self._master >= 0:
            console.set_size(self._master, control.unpack_size(data))
        elif letter == control.UNREAD:
            self._hub.forget(data)
        elif letter == control.DETACH:
            client.owner = False
        elif letter == control.SIGNAL:
            self._signal(data[0])
        elif not message and client.owner:
            self._signal(signal.SIGKILL)
            if self._job.lent is not None:
                console.restore(*self._job.lent)

    def _signal(self, number: int) -> None:
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


def _confinement(job: _Job) -> Confinement:
    """Precondition: in an ordinary user's namespace, whose rights count. Who enters another later has all there."""
    privileged = job.config.privileged or job.asked.privileged
    own = None if job.config.maps is None else EVERY
    return confine.confinement(job.config.security, job.filters, privileged, own)


def _enter(job: _Job, confined: Confinement, stdio: tuple[int, int, int], channel: int, errors: int) -> NoReturn:
    """Become the command, or say why not. Precondition: not dumpable; in the container's pid namespace."""
    try:
        job.group.enter()
        close_all_but({0, 1, 2, *job.doors.descriptors(), channel, errors, *stdio} - {-1})
        switch_import_off()
        if job.config.maps is not None:
            rlimits.apply(job.config)
        namespaces.join(job.doors, job.config)
        process.make_undumpable()
        process.join_new_keyring()
        for fd in job.doors.descriptors():
            os.close(fd)
        command = _command(job, confined, channel)
        for fd in {*stdio} - {-1}:
            os.fchown(fd, command.user.uid, -1)  # /dev/stdout and the like can be opened by their owner only
        if job.config.maps is None:
            rlimits.apply(job.config)
        confine.drop(confined)
    except Exception as error:
        failure = failure_of(error)
        send_failure(errors, *failure)
        os._exit(failure.status)
    become(command, stdio, errors)


def _command(job: _Job, confined: Confinement, channel: int) -> Command:
    """Precondition: in the container's namespaces, whose root is ours."""
    asked, config = job.asked, job.config
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    user = users.look_up(root, asked.user or config.user, config.groups)
    if job.maps is not None:
        user = mapped.as_possible(job.maps, user)
    os.close(root)
    slave = -1
    if asked.tty:
        pts = os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        terminal = console.open_terminal(pts, job.size)
        os.close(pts)
        terminal.hand_over(channel, user.uid)
        slave = terminal.slave
    variables = environment(config._replace(env=[*config.env, *asked.env], tty=asked.tty), user)
    return Command(asked.args, variables, asked.workdir or config.workdir, user, slave, confined, config.umask)
