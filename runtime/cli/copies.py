"""The verb `cp`."""

import os
import stat
import sys

from runtime.cli.options import Option, Parsed, verb
from runtime.cli.run import open_store
from runtime.container import copy
from runtime.container.carry import Target, packed
from runtime.container.roots import enter, open_root
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError, describe
from runtime.image.errors import Corrupt
from runtime.places import Places

_CP = (
    Option("archive", "keep owner and group", "a"),
    Option("follow-link", "follow a symlink that SRC is", "L"),
    Option("quiet", "accepted for Docker's sake", "q"),
)
_CHUNK_BYTES = 1 << 18
_OPENED = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@verb(
    "cp",
    "CONTAINER:SRC DST|-\nSRC|- CONTAINER:DST",
    "Copy files between a container and this machine; - is a tar archive on standard input or output.",
    _CP,
    least=2,
    most=2,
)
def cp(options: Parsed, places: Places) -> int:
    """`pyunion cp`. Raises Refusal."""
    source, target = map(_split, options.words)
    if bool(source[0]) == bool(target[0]):
        raise UsageError("exactly one of the two is CONTAINER:PATH")
    store = open_store(places)
    archive, follow = options.on("archive"), options.on("follow-link")
    try:
        if source[0]:
            _out(store, *source, target[1], archive=archive, follow=follow)
        else:
            _in(store, source[1], *target, archive=archive, follow=follow)
    except Corrupt as error:
        raise Refusal(str(error), status=1) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise Refusal(describe(error), status=1) from None
    return 0


def _split(text: str) -> tuple[str, str]:
    """Container and path; no container if it is a path of this machine."""
    name, colon, path = text.partition(":")
    if not colon or "/" in name or name in ("", "."):
        return "", text
    return name, path


def _out(store: Store, name: str, path: str, target: str, *, archive: bool, follow: bool) -> None:
    container = store.find(name)
    with open_root(store, container) as root:

        def resolve() -> int:
            enter(container)
            return copy.resolve(root, _clean(path), follow=follow or path.endswith("/"))

        if target == "-":
            if os.isatty(1):
                raise UsageError("an archive isn't written to a terminal: redirect it")
            source = resolve()
            try:
                copy.pack(source, _name(path), sys.stdout.buffer.write)
                sys.stdout.buffer.flush()
            finally:
                os.close(source)  # a mount that was made for it goes with the last who has it open
            return
        with packed(resolve) as stream:
            opened, place = _here(target, path, stream.is_directory)
            try:
                stream.unpack(place, None if archive else (os.geteuid(), os.getegid()))
            finally:
                os.close(opened)


def _here(target: str, path: str, is_directory: bool) -> tuple[int, Target]:
    """The directory of this machine to write to, which is open, and the name in it."""
    if os.path.isdir(target):
        opened = os.open(target, _OPENED)
        return opened, Target(copy.below(opened), b"" if path.endswith("/.") else _name(path))
    if target.endswith("/") and not is_directory:
        raise Refusal(f"no such directory: {target}", status=1)
    above, name = os.path.split(target.rstrip("/"))
    if is_directory and os.path.lexists(target):
        raise Refusal(f"cannot copy a directory over the file {target}", status=1)
    opened = os.open(above or ".", _OPENED)
    return opened, Target(copy.below(opened), os.fsencode(name))


def _in(store: Store, path: str, name: str, target: str, *, archive: bool, follow: bool) -> None:
    container = store.find(name)
    with open_root(store, container) as root:
        if path == "-":
            enter(container)
            if not _is_directory(root, target):
                raise Refusal(f"destination {name}:{target} must be a directory", status=1)
            copy.unpack(lambda: os.read(0, _CHUNK_BYTES), copy.inside(root, _clean(target)), None)
            return
        flags = os.O_PATH | os.O_CLOEXEC | (0 if follow or path.endswith("/") else os.O_NOFOLLOW)
        source = os.open(path, flags)
        try:
            with packed(lambda: source) as stream:
                enter(container)
                place = _there(root, path, target, stream.is_directory)
                stream.unpack(place, None if archive else (0, 0))
        finally:
            os.close(source)


def _there(root: int, path: str, target: str, is_directory: bool) -> Target:
    """The same in a container."""
    if _is_directory(root, target):
        return Target(copy.inside(root, _clean(target)), b"" if path.endswith("/.") else _name(path))
    above, last = os.path.split(target.rstrip("/"))
    if not _is_directory(root, above) or (target.endswith("/") and not is_directory):
        raise Refusal(f"no such directory in the container: {above if above else target}", status=1)
    return Target(copy.inside(root, _clean(above)), os.fsencode(last))


def _is_directory(root: int, path: str) -> bool:
    try:
        fd = copy.resolve(root, _clean(path), follow=True)
    except FileNotFoundError:
        return False
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _clean(path: str) -> bytes:
    """Absolute, as a container's paths are."""
    return os.fsencode("/" + path.lstrip("/"))


def _name(path: str) -> bytes:
    """What a source is called in an archive."""
    return os.fsencode(os.path.basename(os.path.normpath(path).rstrip("/"))) or b"."
