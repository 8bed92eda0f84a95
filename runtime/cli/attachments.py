"""The verbs that reach into a running container: `exec` and `attach`."""

import os

from runtime.cli.flags.process import environment
from runtime.cli.options import HELP, Option, parse, usage
from runtime.cli.run import open_store
from runtime.container import control
from runtime.container.caller import Wish, parse_keys
from runtime.container.session import Session, result
from runtime.errors import Refusal, UsageError
from runtime.places import Places

_KEYS = Option("detach-keys", "keys that leave it to itself (default: ctrl-p,ctrl-q)", "", "KEYS")
_EXEC = (
    Option("detach", "leave the command to itself", "d"),
    _KEYS,
    Option("env", "set an environment variable; KEY alone takes it from here", "e", "KEY[=VALUE]"),
    Option("interactive", "pass standard input on to the command", "i"),
    Option("privileged", "keep nothing from the command"),
    Option("tty", "give the command a terminal", "t"),
    Option("user", "run the command as this user and group", "u", "NAME|UID[:GROUP|GID]"),
    Option("workdir", "working directory of the command", "w", "DIR"),
)
_ATTACH = (
    _KEYS,
    Option("no-stdin", "don't pass standard input on"),
    Option("sig-proxy", "pass signals on to the command (default: true)", "", "BOOL"),
)


def exec_(arguments: list[str], places: Places) -> int:
    """`pyunion exec`: the command's exit status. Raises Refusal."""
    options = parse(arguments, _EXEC)
    if options.on(HELP.name):
        about = "Run a command in a running container."
        print(usage("pyunion exec [OPTIONS] CONTAINER COMMAND [ARG...]", about, _EXEC))
        return 0
    if len(options.words) < 2:
        raise UsageError("it takes a container and a command")
    name, *args = options.words
    container = open_store(places).find(name)
    if os.path.exists(f"{container.run_directory}/paused"):
        raise Refusal(f"container {name} is paused: unpause it first", status=1)
    from runtime.container import exec as execution

    asked = execution.Asked(
        args=args,
        env=environment(options.many("env")),
        user=options.one("user"),
        workdir=options.one("workdir"),
        interactive=options.on("interactive"),
        tty=options.on("tty"),
        privileged=options.on("privileged"),
    )
    if options.on("detach"):
        return execution.run(container, asked, Wish(streams=b"", signals=False))
    keys = parse_keys(options.one("detach-keys", "ctrl-p,ctrl-q"))
    return execution.run(container, asked, Wish(stdin=asked.interactive, tty=asked.tty, keys=keys))


def attach(arguments: list[str], places: Places) -> int:
    """`pyunion attach`: the exit status of the container's command. Raises Refusal."""
    options = parse(arguments, _ATTACH, anywhere=True)
    if options.on(HELP.name):
        about = "Join the streams of a running container's command."
        print(usage("pyunion attach [OPTIONS] CONTAINER", about, _ATTACH))
        return 0
    if len(options.words) != 1:
        raise UsageError("it takes exactly one container")
    container = open_store(places).find(options.words[0])
    config = container.config()
    try:
        connection = control.connect(container.run_directory)
    except OSError:
        raise Refusal(f"container {config.name} is not running", status=1) from None
    wish = Wish(
        stdin=config.interactive and not options.on("no-stdin"),
        tty=config.tty,
        signals=options.one("sig-proxy", "true") in ("true", "1"),
        keys=parse_keys(options.one("detach-keys", "ctrl-p,ctrl-q")),
    )
    return result(Session(connection, wish).run())
