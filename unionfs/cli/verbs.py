"""What the mount program does, also `pyunion mount`; and `pyunion umount`.

It mounts first and serves afterwards: it returns while its driver, a process of its own, still imports what it serves
with. So it imports little itself.
"""

import os
import sys
from collections.abc import Sequence

from unionfs.cli import options
from unionfs.core.errors import UnionError
from unionfs.fuse import driver, kernel, mounting

_UMOUNT_USAGE = """\
Usage: pyunion umount [-l] MOUNTPOINT...

Unmount unions. -l, --lazy: also one in use, which ends when it no longer is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Mount as `argv` says (default: the process's arguments), and return the exit status once it is mounted."""
    arguments = [os.fsencode(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    if arguments[:1] == [b"--stats"]:
        return _print_statistics(arguments[1:])
    try:
        wanted = options.parse(arguments)
        if isinstance(wanted, options.MountOptions):
            return _mount(wanted)
    except (UnionError, options.OptionError) as error:
        return _complain("pyunionfs", str(error))
    return _print_help() if wanted == "help" else _print_version()


def umount(argv: Sequence[str]) -> int:
    """Unmount unions at the mount points `argv`; the exit status is 1 if one couldn't be."""
    lazy = any(word in ("-l", "--lazy") for word in argv)
    names = [word for word in argv if word not in ("-l", "--lazy")]
    if not names or names[0] in ("-h", "--help"):
        print(_UMOUNT_USAGE, file=sys.stdout if names else sys.stderr)
        return 0 if names else 1
    status = 0
    for name in names:
        try:
            kernel.unmount_union(os.path.realpath(os.fsencode(name)), lazy=lazy)
        except OSError as error:
            status = _complain("pyunion umount", f"{options.shown(name)}: {error.strerror}")
    return status


def _mount(wanted: options.MountOptions) -> int:
    connection = mounting.mount(wanted.union, wanted.mountpoint, wanted.settings)
    if wanted.foreground:
        return driver.run(connection, wanted.settings, debug=wanted.debug, detached=False)
    driver.fork_driver(connection, wanted.settings)
    # what the union holds goes with this process; the driver has its own copies
    return 0


def _print_help() -> int:
    from unionfs.cli.help import HELP

    print(HELP, end="")
    return 0


def _print_statistics(arguments: list[bytes]) -> int:
    from unionfs.cli import statistics

    return statistics.main(arguments)


def _print_version() -> int:
    from importlib.metadata import version

    print(f"pyunionfs {version('pyunion')}")
    return 0


def _complain(program: str, text: str) -> int:
    print(f"{program}: {text}", file=sys.stderr)
    return 1
