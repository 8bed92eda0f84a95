"""The start of a container: a monitor is forked, and this process is the first to be attached to it.

The driver takes longest to be ready, for all that it imports. So it is forked first, and who else is needed imports
meanwhile: this process the session, the monitor the rest.
"""

import os
from contextlib import suppress
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

__all__ = ["BACKGROUND", "foreground", "run"]


def run(store: Store, container: Container, config: Config, lock: int, wish: Wish) -> int:
    """Start `container`, and do what `wish` says: the exit status of its command, or 0 if it is left to itself.

    Raises Refusal if the command didn't run.
    """
    ours, theirs = control.pair()
    caller = _with_terminal(theirs, wish) if config.tty else Caller(theirs)
    if os.geteuid() == 0:
        child = os.fork()
        if child == 0:
            _be_monitor(container, config, lock, caller)
    else:
        child = _fork_unprivileged(container, config, lock, caller)
    os.close(lock)
    caller.close()
    from runtime.container.session import Session, result

    ended = Session(ours, wish).run()
    if not ended.told:
        os.waitpid(child, 0)
        container.wait_until_free()
        store.sweep()
        raise Refusal("the container's monitor process was killed")
    if ended.status is not None and config.restart == "no":
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
    return result(ended)


def _with_terminal(connection: int, wish: Wish) -> Caller:
    from runtime.container import console

    settings = console.settings(0) if wish.tty and wish.stdin else None
    return Caller(connection, console.own_size(), (os.dup(0), settings) if settings is not None else None)


def _be_monitor(container: Container, config: Config, lock: int, caller: Caller) -> NoReturn:
    """Whatever happens, the caller's code, further up the stack, is not ours to return to."""
    try:
        signals.block_all()
        os.setsid()
        os.chdir("/")
        close_all_but({*caller.descriptors(), lock, *kept()})
        point_at_null(0, 1, 2)
        process.set_title(f"pyunion: monitor of {config.name}")
        mark("monitor")
        serving = None
        with suppress(OSError):  # the monitor tries again, and can tell
            serving = driver.fork(container, config, lock, caller.maps)
        mark("driver forked")
        from runtime.container import monitor

        monitor.main(container, config, lock, caller, serving)
    finally:
        os._exit(FAILURE)


def _fork_unprivileged(container: Container, config: Config, lock: int, caller: Caller) -> int:
    """The monitor, in a user namespace: its pid. Raises Refusal."""
    from runtime.container import userns

    mapped = userns.maps()
    unshared_reader, unshared = os.pipe()
    ready_reader, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        try:
            userns.enter(mapped, unshared, ready_reader)
        except OSError as error:
            os.write(2, f"pyunion: a user namespace can't be had here: {error.strerror or error}\n".encode())
            os._exit(FAILURE)
        _be_monitor(container, config, lock, caller._replace(maps=mapped))
    os.close(unshared)
    os.close(ready_reader)
    os.read(unshared_reader, 1)
    os.close(unshared_reader)
    try:
        userns.write_maps(mapped, child)
        os.write(ready, b"r")
    finally:
        os.close(ready)
    return child
