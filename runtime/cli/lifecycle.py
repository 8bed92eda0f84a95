"""The verbs that change how a container is: `stop`, `restart`, `kill`, `pause`, `unpause`, `wait`, `rename`, `rm`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime.cli.flags.process import number, word
from runtime.cli.options import Option, Parsed, verb
from runtime.cli.run import each, open_store, start_one
from runtime.container import control, kill
from runtime.container.events import emit
from runtime.container.named_volumes import NamedVolumes
from runtime.container.record import Container, open_process
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError
from runtime.places import Places

_STOP = (
    Option("signal", "what to send first (default: TERM, or what the container or its image says)", "s", "SIGNAL"),
    Option("time", "seconds to wait before it is killed; -1: for ever (default: 10)", "t", "SECONDS"),
)
_KILL = (Option("signal", "what to send (default: KILL)", "s", "SIGNAL"),)
_RM = (
    Option("force", "end it first if it runs; don't complain if there is none", "f"),
    Option("volumes", "remove its volumes without a name, too", "v"),
)
_SOME = "CONTAINER [CONTAINER...]"


@verb("stop", _SOME, "Ask the commands of containers to end, and end them.", _STOP, least=1)
def stop(options: Parsed, places: Places) -> int:
    """`pyunion stop`. Raises UsageError."""
    store = open_store(places)
    return each("stop", options.words, lambda name: _stop(store.find(name), options))


@verb("restart", _SOME, "Stop containers if they run, and start them.", _STOP, least=1)
def restart(options: Parsed, places: Places) -> int:
    """`pyunion restart`. Raises UsageError."""
    store = open_store(places)

    def again(name: str) -> None:
        with _kept(store, store.find(name)) as container:
            _stop(container, options)
        start_one(store, container.id)

    return each("restart", options.words, again)


@verb("kill", _SOME, "Send a signal to the commands of containers.", _KILL, least=1)
def kill_(options: Parsed, places: Places) -> int:
    """`pyunion kill`. Raises UsageError."""
    signal = kill.parse_signal(options.one("signal", "KILL"))
    store = open_store(places)
    return each("kill", options.words, lambda name: kill.send(store.find_running(name), signal))


@verb("pause", _SOME, "Suspend all processes of containers.", least=1)
def pause(options: Parsed, places: Places) -> int:
    """`pyunion pause`. Raises UsageError."""
    store = open_store(places)
    return each("pause", options.words, lambda name: _pause(store.find_running(name)))


@verb("unpause", _SOME, "Let paused containers go on.", least=1)
def unpause(options: Parsed, places: Places) -> int:
    """`pyunion unpause`. Raises UsageError."""
    store = open_store(places)
    return each("unpause", options.words, lambda name: _unpause(store.find_running(name)))


@verb("wait", _SOME, "Wait until containers have ended, and print their exit statuses.", least=1)
def wait(options: Parsed, places: Places) -> int:
    """`pyunion wait`: prints exit statuses. Raises Refusal."""
    store = open_store(places)
    for container in [store.find(name) for name in options.words]:
        print(_wait(container), flush=True)
    return 0


@verb("rename", "CONTAINER NAME", "Give a container another name.", least=2, most=2)
def rename(options: Parsed, places: Places) -> int:
    """`pyunion rename`. Raises Refusal."""
    old, new = options.words
    if not new:
        raise UsageError("the new name is empty")
    store = open_store(places)
    container = store.find(old)
    store.rename(container, word("name", new))
    emit(container, container.config(), "rename", oldName=old)
    return 0


@verb("rm", _SOME, "Remove containers and all they changed.", _RM, least=1)
def rm(options: Parsed, places: Places) -> int:
    """`pyunion rm`: 1 if one of the containers could not be removed. Raises UsageError."""
    store = open_store(places)
    return each("rm", options.words, lambda name: _remove(store, name, options))


@contextmanager
def _kept(store: Store, container: Container) -> Iterator[Container]:
    """A container that isn't removed when it ends meanwhile, though it was made with --rm."""
    auto_remove = container.config().auto_remove
    if auto_remove:
        store.change(container, lambda config: config._replace(auto_remove=False))
    try:
        yield container
    finally:
        if auto_remove:
            store.change(container, lambda config: config._replace(auto_remove=True))


def _stop(container: Container, options: Parsed) -> None:
    config = container.config()
    signal = kill.parse_signal(options.one("signal") or config.stop_signal or "TERM")
    kill.stop(container, signal, number("time", options.one("time", str(config.stop_timeout_s)), -1))


def _pause(container: Container) -> None:
    from runtime.container import cgroups

    marker = f"{container.run_directory}/paused"
    try:
        open(marker, "x").close()  # first: whoever ends it meanwhile is to know that it may be frozen
    except FileExistsError:
        raise Refusal(f"container {container.config().name} is paused already", status=1) from None
    except FileNotFoundError:
        raise Refusal(f"container {container.config().name} is not running", status=1) from None
    try:
        cgroups.find(container.id, container.config().limits).freeze()
    except BaseException:
        with suppress(Refusal):
            kill.thaw(container)
        os.close(open_process(container))  # it may have ended meanwhile, which explains it
        raise
    emit(container, container.config(), "pause")


def _unpause(container: Container) -> None:
    if not os.path.exists(f"{container.run_directory}/paused"):
        raise Refusal(f"container {container.config().name} is not paused", status=1)
    kill.thaw(container)
    emit(container, container.config(), "unpause")


def _wait(container: Container) -> int:
    """The exit status of a container that runs, when it has ended; or of the last run."""
    try:
        connection = control.connect(container.run_directory)
    except OSError:  # it doesn't run, or its end is being recorded
        container.wait_until_free()
        return int(container.state()["exit_code"])
    try:
        while message := control.hear(connection):
            if message[:1] == control.EXITED:
                return int(message[1:])
    finally:
        os.close(connection)
    container.wait_until_free()
    return int(container.state()["exit_code"])


def _remove(store: Store, name: str, options: Parsed) -> bool:
    """Whether there was one."""
    try:
        container = store.find(name)
    except Refusal:
        if options.on("force"):
            return False
        raise
    if options.on("force"):
        kill.end(container)
    remove(store, container, with_volumes=options.on("volumes"))
    return True


def remove(store: Store, container: Container, *, with_volumes: bool = False) -> None:
    """Remove a container, and if asked its volumes without a name. Raises Refusal: it runs."""
    lock = store.take(container)
    config = container.config_if_sound()
    container.remove()
    os.close(lock)
    if config is not None:
        emit(container, config, "destroy")
    if config is not None and with_volumes:
        NamedVolumes(store.places).remove_nameless(container.id)
