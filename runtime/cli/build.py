"""The verb `build`."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, NoReturn

from runtime.cli.flags.process import read_labels
from runtime.cli.options import Option, Parsed, verb
from runtime.errors import SIGNALLED, UsageError
from runtime.places import Places

if TYPE_CHECKING:
    from runtime.build.site import Wishes

_BUILD = (
    Option("build-arg", "a value for an ARG; KEY alone takes it from here", "", "KEY[=VALUE]"),
    Option("cache-from", "accepted for Docker's sake: what is here is looked through in any case", "", "IMAGE"),
    Option("file", "the Dockerfile, - for standard input", "f", "FILE"),
    Option("force-rm", "accepted for Docker's sake: no container stays"),
    Option("iidfile", "write the image's id into this file", "", "FILE"),
    Option("label", "a label of the image", "", "KEY[=VALUE]"),
    Option("load", "accepted for Docker's sake: the image is here in any case"),
    Option("network", "of RUN: default, host or none", "", "NETWORK"),
    Option("no-cache", "do every step anew"),
    Option("platform", "that the image is for", "", "OS/ARCH[/VARIANT]"),
    Option("progress", "auto or plain: there is one kind", "", "KIND"),
    Option("pull", "fetch the base images even if they are here"),
    Option("quiet", "print the image's id alone; of a step that fails, all that it said", "q"),
    Option("rm", "accepted for Docker's sake: no container stays"),
    Option("secret", "a file for RUN --mount=type=secret", "", "id=ID[,src=FILE|,env=NAME]"),
    Option("tag", "a name for the image", "t", "NAME[:TAG]"),
    Option("target", "the stage to build", "", "STAGE"),
)
_EPOCH = "SOURCE_DATE_EPOCH"
_NETWORKS = ("default", "host", "none")


@verb(
    "build",
    "DIR|-",
    "Make an image as a Dockerfile says, from a directory, or from an archive or Dockerfile on stdin.",
    _BUILD,
    least=1,
    most=1,
)
def build(options: Parsed, places: Places) -> int:
    """`pyunion build`. Raises Refusal."""
    if options.one("progress", "plain") not in ("auto", "plain"):
        raise UsageError(f"unknown --progress {options.one('progress')!r}: there are auto and plain")
    from runtime.build.build import build as build_image
    from runtime.image.reference import parse_name

    names = [parse_name(text) for text in options.many("tag")]
    wishes = _wishes(options)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    if options.one("iidfile"):
        with suppress(FileNotFoundError):
            os.unlink(options.one("iidfile"))  # of an earlier build: this one may fail
    with _quiet() if options.on("quiet") else nullcontext():
        image = build_image(places, options.words[0], options.one("file"), wishes, names)
    if options.one("iidfile"):
        with open(options.one("iidfile"), "w", encoding="ascii") as file:
            file.write(str(image.id))
    if options.on("quiet"):
        print(image.id)
        return 0
    print(f"Successfully built {image.id.short}")
    for name in names:
        print(f"Successfully tagged {name.familiar}")
    return 0


def _wishes(options: Parsed) -> "Wishes":
    from runtime.build.site import Wishes
    from runtime.cli.flags.platform import read as read_platform

    network = options.one("network", "default")
    if network not in _NETWORKS:
        raise UsageError(f"unknown network {network!r} for a build: there are {', '.join(_NETWORKS)}")
    epoch = [_EPOCH] if _EPOCH in os.environ else []  # known to who builds and to what is built, as with buildx
    arguments = dict(pair for text in [*epoch, *options.many("build-arg")] if (pair := _argument(text)))
    return Wishes(
        arguments=arguments,
        labels=read_labels(options.many("label")),
        secrets=dict(map(_secret, options.many("secret"))),
        target=options.one("target"),
        platform=read_platform(options),
        network=network,
        use_cache=not options.on("no-cache"),
        pull=options.on("pull"),
        epoch_s=_epoch(arguments.get(_EPOCH, "")),
    )


def _argument(text: str) -> tuple[str, str] | None:
    """KEY=VALUE; of KEY alone the value it has here, if it has one."""
    key, equals, value = text.partition("=")
    if not key:
        raise UsageError(f"invalid --build-arg {text!r}: it has no name")
    if equals:
        return key, value
    return (key, os.environ[key]) if key in os.environ else None


def _secret(text: str) -> tuple[str, bytes]:
    """Its id and what it is: a file's content, or an environment variable's value."""
    values = {key: value for key, _, value in (word.partition("=") for word in text.split(","))}
    unknown = values.keys() - {"id", "src", "source", "env", "type"}
    identity = values.get("id", "")
    if unknown or not identity:
        raise UsageError(f"invalid --secret {text!r}: it is id=ID and src=FILE or env=NAME")
    name = values.get("env") or ("" if values.get("src") or values.get("source") else identity)
    if name in os.environ and values.get("type") != "file":
        return identity, os.fsencode(os.environ[name])
    path = values.get("src") or values.get("source") or identity
    if values.get("env") or not os.path.isfile(path):
        raise UsageError(f"--secret {text!r}: there is no {'variable' if values.get('env') else 'file'} {name or path}")
    with open(path, "rb") as file:
        return identity, file.read()


def _epoch(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) < 12):
        raise UsageError(f"{_EPOCH}={text}: it isn't a number of seconds")
    return int(text) if text else None


def _stop(number: int, _frame: object) -> NoReturn:
    """Ends the build orderly."""
    sys.exit(SIGNALLED + number)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what is written to standard output and error, by steps too, and show it only if something goes wrong."""
    kept = (os.dup(1), os.dup(2))
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stdout.flush()
            for number, fd in enumerate(kept, 1):
                os.dup2(fd, number)
                os.close(fd)
            if failed:
                file.seek(0)
                shutil.copyfileobj(file, sys.stderr.buffer)
