"""The verbs that change how a container is: `stop`, `restart`, `kill`, `pause`, `unpause`, `wait`, `rename`, `rm`."""

import os

from runtime.cli.flags.process import number, word
from runtime.cli.options import HELP, Option, Parsed, parse, usage
from runtime.cli.run import each, open_store, start_one
from runtime.container import control, kill
from runtime.container.events import emit
from runtime.container.named_volumes import NamedVolumes
from runtime.container.record import Container
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


def stop(arguments: list[str], places: Places) -> int:
    """`pyunion stop`. Raises UsageError."""
    options, store = _read("stop", "Ask the commands of containers to end, and end them.", arguments, places, _STOP)
    return each("stop", options.words, lambda name: _stop(store.find(name), options)) if store else 0


def restart(arguments: list[str], places: Places) -> int:
    """`pyunion restart`. Raises UsageError."""
    options, store = _read("restart", "Stop containers if they run, and start them.", arguments, places, _STOP)
    if store is None:
        return 0
    kept = store

    def again(name: str) -> None:
        _stop(kept.find(name), options)
        start_one(kept, name)

    return each("restart", options.words, again)


def kill_(arguments: list[str], places: Places) -> int:
    """`pyunion kill`. Raises UsageError."""
    options, store = _read("kill", "Send a signal to the commands of containers.", arguments, places, _KILL)
    if store is None:
        return 0
    signal = kill.parse_signal(options.one("signal", "KILL"))
    return each("kill", options.words, lambda name: kill.send(_running(store, name), signal))


def pause(arguments: list[str], places: Places) -> int:
    """`pyunion pause`. Raises UsageError."""
    options, store = _read("pause", "Suspend all processes of containers.", arguments, places)
    return each("pause", options.words, lambda name: _pause(_running(store, name))) if store else 0


def unpause(arguments: list[str], places: Places) -> int:
    """`pyunion unpause`. Raises UsageError."""
    options, store = _read("unpause", "Let paused containers go on.", arguments, places)
    return each("unpause", options.words, lambda name: _unpause(_running(store, name))) if store else 0


def wait(arguments: list[str], places: Places) -> int:
    """`pyunion wait`: prints exit statuses. Raises Refusal."""
    about = "Wait until containers have ended, and print their exit statuses."
    options, store = _read("wait", about, arguments, places)
    for container in [store.find(name) for name in options.words] if store else ():
        print(_wait(container), flush=True)
    return 0


def rename(arguments: list[str], places: Places) -> int:
    """`pyunion rename`. Raises Refusal."""
    options = parse(arguments, ())
    if options.on(HELP.name):
        print(usage("pyunion rename CONTAINER NAME", "Give a container another name.", ()))
        return 0
    if len(options.words) != 2 or not options.words[1]:
        raise UsageError("it takes a container and a name")
    store = open_store(places)
    container = store.find(options.words[0])
    store.rename(container, word("name", options.words[1]))
    emit(container, container.config(), "rename", oldName=options.words[0])
    return 0


def rm(arguments: list[str], places: Places) -> int:
    """`pyunion rm`: 1 if one of the containers could not be removed. Raises UsageError."""
    options, store = _read("rm", "Remove containers and all they changed.", arguments, places, _RM)
    return each("rm", options.words, lambda name: _remove(store, name, options)) if store else 0


def _read(
    verb: str, about: str, arguments: list[str], places: Places, table: tuple[Option, ...] = ()
) -> tuple[Parsed, Store | None]:
    """Options, and the store unless it was only help that was asked for. Raises UsageError, Refusal."""
    options = parse(arguments, table, anywhere=True)
    if options.on(HELP.name):
        print(usage(f"pyunion {verb} [OPTIONS] CONTAINER [CONTAINER...]", about, table))
        return options, None
    if not options.words:
        raise UsageError("it takes at least one container")
    return options, open_store(places)


def _running(store: Store, name: str) -> Container:
    container = store.find(name)
    if container.state()["status"] != "running":
        raise Refusal(f"container {container.config().name} is not running", status=1)
    return container


def _stop(container: Container, options: Parsed) -> None:
    config = container.config()
    signal = kill.parse_signal(options.one("signal") or config.stop_signal or "TERM")
    kill.stop(container, signal, number("time", options.one("time", str(config.stop_timeout_s)), -1))


def _pause(container: Container) -> None:
    from runtime.container import cgroups

    marker = f"{container.run_directory}/paused"
    if os.path.exists(marker):
        raise Refusal(f"container {container.config().name} is paused already", status=1)
    cgroups.find(container.id, container.config().limits).freeze()
    open(marker, "x").close()
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
    except OSError:
        return int(container.state()["exit_code"])
    try:
        while message := control.hear(connection):
            if message[:1] == control.EXITED:
                return int(message[1:])
    finally:
        os.close(connection)
    container.wait_until_free()
    return int(container.state()["exit_code"])


def _remove(store: Store, name: str, options: Parsed) -> None:
    try:
        container = store.find(name)
    except Refusal:
        if options.on("force"):
            return
        raise
    if options.on("force"):
        kill.forbid_restart(container)
        kill.thaw(container) if container.exists() else None
        container.kill()
    lock = store.take(container)
    config = container.config() if container.exists() else None
    container.remove()
    os.close(lock)
    if config is not None:
        emit(container, config, "destroy")
    if config is not None and options.on("volumes"):
        NamedVolumes(store.places).remove_nameless(container.id)
