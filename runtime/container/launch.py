"""The start of a container: a monitor is forked, and this process is the first to be attached to it.

The monitor and its driver import more than anybody else. So they are forked first, as soon as the container has an
id and a lock; while they import, this process finds out what the container is to be. Its configuration on disk tells
them then.
"""

import gc
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import NoReturn

from runtime.container import control, driver, signals
from runtime.container.caller import BACKGROUND, Caller, Wish, foreground
from runtime.container.config import Config
from runtime.container.record import Container
from runtime.container.store import Store
from runtime.container.trace import kept, mark
from runtime.errors import FAILURE, Refusal
from unionfs.linux import process
from unionfs.linux.descriptors import close_all_but, point_at_null

__all__ = ["BACKGROUND", "Launch", "foreground", "run"]


class Launch:
    """A container that is about to be started. Leaving it without run() removes one that was never finished."""

    def __init__(self, store: Store, container: Container, lock: int, others: Sequence[str] = ()) -> None:
        """Fork the monitor; `lock` is its from now on, too.

        `others` are ids of containers whose user namespace an ordinary user's is to be in. Raises Refusal.
        """
        self._store = store
        self._container = container
        self._lock = lock
        self._connection, theirs = control.pair()
        caller = Caller(theirs, _own_terminal())
        if os.geteuid() == 0:
            self._monitor = os.fork()
            if self._monitor == 0:
                _be_monitor(container, lock, caller)
        else:
            try:
                self._monitor = _fork_unprivileged(container, lock, caller, others)
            except Refusal:
                container.release()
                raise
        caller.close()

    def __enter__(self) -> "Launch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._connection >= 0:
            os.close(self._connection)
            os.waitpid(self._monitor, 0)

    def run(self, config: Config, wish: Wish) -> int:
        """Start the container and do what `wish` says: the exit status of its command, or 0 if it is left to itself.

        Raises Refusal if the command didn't run.
        """
        if not self._container.exists():
            self._container.write_config(config)
        connection, self._connection = self._connection, -1
        _tell(connection, config, wish)
        os.close(self._lock)
        from runtime.container.session import Session, result

        gc.freeze()
        gc.enable()
        ended = Session(connection, wish).run()
        if not ended.told:
            os.waitpid(self._monitor, 0)
            self._container.wait_until_free()
            self._store.sweep()
            raise Refusal("the container's monitor process was killed")
        if ended.status is not None and config.restart == "no":
            with suppress(ChildProcessError):
                os.waitpid(self._monitor, 0)
        return result(ended)


def run(store: Store, container: Container, config: Config, lock: int, wish: Wish) -> int:
    """Start a container that is made already, as Launch.run() does. Raises Refusal."""
    from runtime.container import namespaces

    if container.state().get("restarts"):
        container.note_state(restarts=0)
    with Launch(store, container, lock, namespaces.others(config)) as launch:
        return launch.run(config, wish)


def _own_terminal() -> tuple[int, list[object]] | None:
    if not os.isatty(0):
        return None
    from runtime.container import console

    return console.lend()


def _tell(connection: int, config: Config, wish: Wish) -> None:
    """Have the monitor begin. If it is gone, the session hears of it."""
    size = (0, 0)
    if config.tty:
        from runtime.container import console

        size = console.own_size()
    with suppress(BrokenPipeError):
        os.write(connection, control.pack_begin(size, wish.tty and wish.stdin, wish.streams))


def _be_monitor(container: Container, lock: int, caller: Caller) -> NoReturn:
    """Whatever happens, the caller's code, further up the stack, is not ours to return to."""
    try:
        gc.disable()  # nothing that is imported becomes garbage
        signals.block_all()
        os.setsid()
        os.chdir("/")
        close_all_but({*caller.descriptors(), lock, *kept()})
        point_at_null(0, 1, 2)
        process.set_title("pyunion: monitor")
        mark("monitor")
        serving = None
        with suppress(OSError):  # the monitor tries again, and can tell
            serving = driver.fork(container, lock, caller.maps)
        mark("driver forked")
        from runtime.container import monitor

        gc.freeze()
        gc.enable()
        monitor.main(container, lock, caller, serving)
    finally:
        os._exit(FAILURE)


def _fork_unprivileged(container: Container, lock: int, caller: Caller, others: Sequence[str]) -> int:
    """The monitor, in a user namespace, of its own or of the `others`: its pid. Raises Refusal."""
    from runtime.container import namespaces, userns

    mapped = userns.maps()
    shared = namespaces.users_of(others, container.places)
    unshared_reader, unshared = os.pipe()
    ready_reader, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        try:
            userns.join(shared, unshared) if shared >= 0 else userns.enter(mapped, unshared, ready_reader)
        except OSError as error:
            userns.refuse(unshared, error)
        _be_monitor(container, lock, caller._replace(maps=mapped))
    for fd in {unshared, ready_reader, shared} - {-1}:
        os.close(fd)
    try:
        userns.hear(unshared_reader)
        if shared < 0:
            userns.write_maps(mapped, child)
            os.write(ready, b"r")
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(unshared_reader)
        os.close(ready)
    return child
