"""The verbs that reach into a running container: `exec` and `attach`."""

import os

from runtime.cli.flags.process import COMMAND, DETACH_KEYS, SIG_PROXY, read_environment, read_keys
from runtime.cli.options import Option, Parsed, verb
from runtime.cli.run import open_store
from runtime.container import control
from runtime.container.caller import Wish
from runtime.container.session import Session, result
from runtime.errors import Refusal
from runtime.places import Places

_EXEC = (
    Option("detach", "leave the command to itself", "d"),
    DETACH_KEYS,
    *COMMAND,
    Option("privileged", "keep nothing from the command"),
)
_ATTACH = (
    DETACH_KEYS,
    Option("no-stdin", "don't pass standard input on"),
    SIG_PROXY,
)


@verb("exec", "CONTAINER COMMAND [ARG...]", "Run a command in a running container.", _EXEC, least=2, anywhere=False)
def exec_(options: Parsed, places: Places) -> int:
    """`pyunion exec`: the command's exit status. Raises Refusal."""
    name, *args = options.words
    container = open_store(places).find(name)
    if os.path.exists(f"{container.run_directory}/paused"):
        raise Refusal(f"container {name} is paused: unpause it first", status=1)
    from runtime.container import exec as execution

    asked = execution.Asked(
        args=args,
        env=read_environment(options),
        user=options.one("user"),
        workdir=options.one("workdir"),
        interactive=options.on("interactive"),
        tty=options.on("tty"),
        privileged=options.on("privileged"),
    )
    if options.on("detach"):
        return execution.run(container, asked, Wish(streams=b"", signals=False))
    keys = read_keys(options)
    return execution.run(container, asked, Wish(stdin=asked.interactive, tty=asked.tty, keys=keys))


@verb("attach", "CONTAINER", "Join the streams of a running container's command.", _ATTACH, least=1, most=1)
def attach(options: Parsed, places: Places) -> int:
    """`pyunion attach`: the exit status of the container's command. Raises Refusal."""
    container = open_store(places).find(options.words[0])
    config = container.config()
    try:
        connection = control.connect(container.run_directory)
    except OSError:
        raise Refusal(f"container {config.name} is not running", status=1) from None
    wish = Wish(
        stdin=config.interactive and not options.on("no-stdin"),
        tty=config.tty,
        signals=options.on("sig-proxy", default=True),
        keys=read_keys(options),
    )
    control.attach(connection, wish.streams)
    return result(Session(connection, wish).run())
