"""The start of a container: a monitor is forked, and this process is the first to be attached to it."""

import os
from contextlib import suppress

from runtime.container import console, control, monitor
from runtime.container.config import Config
from runtime.container.monitor import Caller
from runtime.container.record import Container
from runtime.container.session import Session, Wish, result, size
from runtime.container.store import Store
from runtime.errors import FAILURE, Refusal


def foreground(config: Config) -> Wish:
    """All of the streams that the container has."""
    return Wish(stdin=config.interactive, tty=config.tty)


BACKGROUND = Wish(streams=b"", signals=False)
"""Only to hear that the command runs."""


def run(store: Store, container: Container, config: Config, lock: int, wish: Wish) -> int:
    """Start `container`, and do what `wish` says: the exit status of its command, or 0 if it is left to itself.

    Raises Refusal if the command didn't run.
    """
    ours, theirs = control.pair()
    settings = console.settings(0) if wish.tty and wish.stdin else None
    terminal = (os.dup(0), settings) if settings is not None else None
    caller = Caller(theirs, size(), terminal, None)
    if os.geteuid() == 0:
        child = os.fork()
        if child == 0:
            monitor.main(container, config, lock, caller)
    else:
        child = _fork_unprivileged(container, config, lock, caller)
    for fd in (lock, theirs, *((terminal[0],) if terminal else ())):
        os.close(fd)
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
        monitor.main(container, config, lock, caller._replace(maps=mapped))
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
