"""The verbs on containers that were made before: `ps`, `rm` and `diff`."""

import os
import sys
from typing import Any

from runtime.cli.options import HELP, Option, parse, usage
from runtime.cli.tables import print_table, span_text
from runtime.container.record import SHORT_ID, Container
from runtime.container.store import Store, skeleton
from runtime.errors import Refusal, UsageError, describe
from runtime.places import Places

_PS = (
    Option("all", "those that don't run, too", "a"),
    Option("no-trunc", "don't shorten ids and commands"),
    Option("quiet", "ids only", "q"),
)
_RM = (Option("force", "end it first if it runs; don't complain if there is none", "f"),)
_COMMAND_WIDTH = 20


def ps(arguments: list[str], places: Places) -> int:
    """`pyunion ps`. Raises Refusal."""
    options = parse(arguments, _PS)
    if options.on(HELP.name):
        print(usage("pyunion ps [OPTIONS]", "List containers, the newest first: those that run.", _PS))
        return 0
    if options.words:
        raise UsageError("it takes no arguments")
    store = Store(places)
    store.sweep()
    full = options.on("no-trunc")
    rows = []
    for container in store.all():
        try:
            row = _row(container, full)
        except FileNotFoundError:  # removed meanwhile
            continue
        if options.on("all") or row[4].startswith("Up"):
            rows.append(row)
    if options.on("quiet"):
        print("".join(f"{row[0]}\n" for row in rows), end="")
    else:
        print_table([("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"), *rows])
    return 0


def rm(arguments: list[str], places: Places) -> int:
    """`pyunion rm`: 1 if one of the containers could not be removed. Raises UsageError."""
    options = parse(arguments, _RM)
    if options.on(HELP.name):
        print(usage("pyunion rm [OPTIONS] CONTAINER [CONTAINER...]", "Remove containers and all they changed.", _RM))
        return 0
    if not options.words:
        raise UsageError("it takes at least one container")
    store = Store(places)
    store.sweep()
    status = 0
    for name in options.words:
        try:
            _remove(store, name, force=options.on("force"))
            print(name)
        except Refusal as error:
            print(f"pyunion rm: {error}", file=sys.stderr)
            status = 1
    return status


def diff(arguments: list[str], places: Places) -> int:
    """`pyunion diff`: a line for each path that was added (A), changed (C) or deleted (D). Raises Refusal."""
    from unionfs.core.changes import changes
    from unionfs.core.errors import UnionError

    options = parse(arguments, ())
    if options.on(HELP.name):
        print(usage("pyunion diff CONTAINER", "List what a container added (A), changed (C) and deleted (D).", ()))
        return 0
    if len(options.words) != 1:
        raise UsageError("it takes exactly one container")
    store = Store(places)
    store.sweep()
    container = store.find(options.words[0])
    lower = [os.fsencode(layer) for layer in (*container.config().layers, skeleton(places))]
    try:
        for change in changes(os.fsencode(container.upper), lower, "auto"):
            sys.stdout.buffer.write(b"%b %b\n" % (change.kind.encode(), change.path))
    except UnionError as error:
        raise Refusal(str(error), status=1) from None
    except BrokenPipeError:
        raise  # not about the layers: our reader left
    except OSError as error:
        raise Refusal(describe(error), status=1) from None
    return 0


def _remove(store: Store, name: str, *, force: bool) -> None:
    try:
        container = store.find(name)
    except Refusal:
        if force:
            return
        raise
    if force:
        container.kill()
    lock = store.take(container)
    container.remove()
    os.close(lock)


def _row(container: Container, full: bool) -> tuple[str, ...]:
    config, state = container.config(), container.state()
    command = " ".join(config.args)
    if not full and len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 1] + "…"
    return (
        container.id if full else container.id[:SHORT_ID],
        config.image,
        f'"{command}"',
        f"{span_text(config.created_s)} ago",
        _status(state),
        config.name,
    )


def _status(state: dict[str, Any]) -> str:
    """As Docker says it."""
    if state["status"] == "running":
        return f"Up {span_text(state['started_s'])}"
    if state["status"] == "created":
        return "Created"
    return f"Exited ({state['exit_code']}) {span_text(state['finished_s'])} ago"
