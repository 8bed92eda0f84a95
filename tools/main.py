"""The `pyunion` command: a table of verbs, each module imported only when its verb is used.

This module is on the way to a container's first instruction, so it imports next to nothing.
"""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from runtime.cli.options import HELP, Option, Parsed, parse, usage
from runtime.container import trace
from runtime.errors import FAILURE, SIGNALLED, Refusal, UsageError, describe, one_line
from runtime.places import Places, default_places


class Entry(NamedTuple):
    """Who does a verb: `function` of `module`. Those that keep containers also get the Places."""

    module: str
    function: str
    help: str
    keeps_containers: bool = True


VERBS = {
    "run": Entry("runtime.cli.run", "run", "make a container and run a command in it"),
    "create": Entry("runtime.cli.run", "create", "make a container to be started later"),
    "start": Entry("runtime.cli.run", "start", "run the commands of stopped containers"),
    "stop": Entry("runtime.cli.lifecycle", "stop", "end containers"),
    "restart": Entry("runtime.cli.lifecycle", "restart", "end containers and start them again"),
    "kill": Entry("runtime.cli.lifecycle", "kill_", "send a signal to containers"),
    "pause": Entry("runtime.cli.lifecycle", "pause", "suspend all processes of containers"),
    "unpause": Entry("runtime.cli.lifecycle", "unpause", "let paused containers go on"),
    "update": Entry("runtime.cli.usage", "update", "change the limits of containers"),
    "stats": Entry("runtime.cli.usage", "stats", "show what containers use"),
    "wait": Entry("runtime.cli.lifecycle", "wait", "wait until containers have ended"),
    "exec": Entry("runtime.cli.attachments", "exec_", "run a command in a running container"),
    "attach": Entry("runtime.cli.attachments", "attach", "join the streams of a running container"),
    "logs": Entry("runtime.cli.logs", "logs", "show what a container's command wrote"),
    "events": Entry("runtime.cli.logs", "events", "show what happened to containers"),
    "ps": Entry("runtime.cli.listing", "ps", "list containers"),
    "cp": Entry("runtime.cli.copies", "cp", "copy files into and out of containers"),
    "rename": Entry("runtime.cli.lifecycle", "rename", "give a container another name"),
    "rm": Entry("runtime.cli.lifecycle", "rm", "remove containers"),
    "top": Entry("runtime.cli.containers", "top", "list the processes of a container"),
    "volume": Entry("runtime.cli.volumes", "volume", "make, list and remove volumes"),
    "network": Entry("runtime.cli.networks", "network", "make, list and remove networks, and connect containers"),
    "port": Entry("runtime.cli.networks", "port", "show where the ports of a container are"),
    "diff": Entry("runtime.cli.containers", "diff", "list what a container changed in its root filesystem"),
    "build": Entry("runtime.cli.build", "build", "make an image as a Dockerfile says"),
    "pull": Entry("runtime.cli.registries", "pull", "fetch an image from a registry"),
    "push": Entry("runtime.cli.registries", "push", "send an image to a registry"),
    "login": Entry("runtime.cli.registries", "login", "log in to a registry"),
    "logout": Entry("runtime.cli.registries", "logout", "forget the login at a registry"),
    "images": Entry("runtime.cli.images", "images", "list images"),
    "rmi": Entry("runtime.cli.removal", "rmi", "remove images"),
    "tag": Entry("runtime.cli.images", "tag", "give an image one more name"),
    "history": Entry("runtime.cli.images", "history", "show how an image was made"),
    "inspect": Entry("runtime.cli.inspect", "inspect", "show all about containers and images"),
    "prune": Entry("runtime.cli.removal", "prune", "remove what no image and no container needs"),
    "load": Entry("runtime.cli.archives", "load", "take images out of an archive"),
    "save": Entry("runtime.cli.archives", "save", "write images into an archive"),
    "import": Entry("runtime.cli.archives", "import_tree", "make an image of a root filesystem"),
    "export": Entry("runtime.cli.archives", "export", "write a container's root filesystem as a tar file"),
    "commit": Entry("runtime.cli.archives", "commit", "make an image of a container"),
    "mount": Entry("unionfs.cli.verbs", "main", "mount a union of directories", keeps_containers=False),
    "umount": Entry("unionfs.cli.verbs", "umount", "unmount a union", keeps_containers=False),
    "info": Entry("runtime.cli.about", "info", "tell about this machine, and how many containers and images there are"),
    "version": Entry("runtime.cli.about", "version", "tell which version this is"),
    "builder": Entry("tools.groups", "builder", "Docker's longer names: builder prune"),
    "builder prune": Entry("runtime.cli.pruning", "prune_builder", "forget what builds remember"),
    "container": Entry("tools.groups", "container", "Docker's longer names: container ls"),
    "container prune": Entry("runtime.cli.pruning", "prune_containers", "remove containers that don't run"),
    "image": Entry("tools.groups", "image", "Docker's longer names: image ls"),
    "system": Entry("tools.groups", "system", "Docker's longer names: system info"),
    "system df": Entry("runtime.cli.disk_use", "disk_use", "show what takes how much room"),
    "system prune": Entry("runtime.cli.pruning", "prune_system", "remove all that nothing uses"),
    "doctor": Entry("tools.doctor.verb", "doctor", "tell what this machine can do, and what to do about what it can't"),
}

_GROUPS = ("builder", "container", "image", "system")
OPTIONS = (
    Option("root", "where containers are kept (default: /var/lib/pyunion, or $XDG_DATA_HOME/pyunion)", "", "DIR"),
    Option("runroot", "where what doesn't outlive a reboot is kept (default: /run/pyunion)", "", "DIR"),
    Option("version", "print the version and exit"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status of the command."""
    _open_stdio()
    trace.begin()
    trace.mark("command imported")
    try:
        status = _dispatch(parse(sys.argv[1:] if arguments is None else arguments, OPTIONS))
        if sys.stdout is not None:  # as it is if it was closed when Python started
            sys.stdout.flush()
        return status
    except UsageError as error:
        print(f"pyunion: {one_line(str(error))}\nSee 'pyunion --help'.", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        # whoever read our output has left; Python would complain again when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILURE
    except KeyboardInterrupt:
        return SIGNALLED + 2


def _open_stdio() -> None:
    """Open what the caller closed of 0, 1 and 2, lest a file of ours get the number and be taken for it."""
    while (fd := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(fd)


def _dispatch(options: Parsed) -> int:
    if options.on(HELP.name) or not (options.words or options.on("version")):
        print(_help())
        return 0 if options.on(HELP.name) else FAILURE
    if options.on("version"):
        from importlib.metadata import version

        print(f"pyunion {version('pyunion')}")
        return 0
    if options.words[0] == "help":  # help ps is ps --help
        return _dispatch(parse([*options.words[1:], f"--{HELP.name}"], OPTIONS))
    name, *rest = _short(options.words)
    entry = VERBS.get(name)
    if entry is None:
        raise UsageError(f"unknown command: {name}")
    return _call(name, entry, rest, _places(options))


def _short(words: list[str]) -> list[str]:
    """`container ls` and its like by their short names."""
    if words[0] not in _GROUPS:
        return words
    from tools import groups

    group: groups.Group = getattr(groups, words[0])
    return group.short(words[1:])


def _call(name: str, entry: Entry, rest: list[str], places: Places) -> int:
    module = __import__(entry.module, fromlist=[entry.function])
    gc.freeze()  # or the first search would go through all that was imported
    gc.enable()
    function = getattr(module, entry.function)
    if not entry.keeps_containers:
        return cast(Callable[[list[str]], int], function)(rest)
    try:
        return cast(Callable[[list[str], Places], int], function)(rest, places)
    except UsageError as error:
        status = _complain(name, str(error), error.status)
        print(f"See 'pyunion {name} --help'.", file=sys.stderr)
        return status
    except Refusal as error:
        return _complain(name, str(error), error.status)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _complain(name, describe(error), FAILURE)


def _complain(name: str, message: str, status: int) -> int:
    print(f"pyunion {name}: {one_line(message)}", file=sys.stderr)
    return status


def _places(options: Parsed) -> Places:
    root, runroot = default_places()
    return Places(
        os.path.abspath(options.one("root", root)),
        os.path.abspath(options.one("runroot", runroot)),
    )


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {entry.help}" for name, entry in VERBS.items())
    about = f"A union filesystem in userspace, and containers on it.\n\nCommands:\n{verbs}"
    return usage("pyunion [OPTIONS] COMMAND [ARG...]", about, OPTIONS)


if __name__ == "__main__":
    sys.exit(main())
