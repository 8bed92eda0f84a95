"""The verbs that move images and trees between the store and files: `load`, `save`, `import`, `export`, `commit`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.cli.images import open_store
from runtime.cli.options import HELP, Option, parse, usage
from runtime.errors import UsageError
from runtime.image.reference import parse_reference
from runtime.places import Places

_LOAD = (
    Option("input", "read this file or directory instead of standard input", "i", "FILE"),
    Option("platform", "of an image for several", "", "OS/ARCH[/VARIANT]"),
    Option("quiet", "accepted for Docker's sake", "q"),
)
_SAVE = (
    Option("format", "docker-archive (the default; an oci-archive at the same time) or oci-archive", "", "FORMAT"),
    Option("output", "write this file instead of standard output", "o", "FILE"),
)
_FORMATS = ("docker-archive", "oci-archive")


def load(arguments: list[str], places: Places) -> int:
    """`pyunion load`. Raises Refusal."""
    options = parse(arguments, _LOAD, anywhere=True)
    if options.on(HELP.name):
        about = "Take images out of a docker-archive, an oci-archive or an OCI layout, compressed or not."
        print(usage("pyunion load [OPTIONS] [FILE]", about, _LOAD))
        return 0
    if len(options.words) > 1:
        raise UsageError("it takes one file")
    from runtime.image.archive.load import Wanted
    from runtime.image.archive.load import load as load_images
    from runtime.image.platform import parse_platform

    platform = parse_platform(options.one("platform")) if options.one("platform") else None
    path = options.one("input") or (options.words or ["-"])[0]
    for image in load_images(open_store(places), path, Wanted(platform=platform)):
        names = image.familiar_names()
        print(f"Loaded image: {names[0]}" if names else f"Loaded image ID: {image.id}")
    return 0


def save(arguments: list[str], places: Places) -> int:
    """`pyunion save`. Raises Refusal."""
    options = parse(arguments, _SAVE, anywhere=True)
    if options.on(HELP.name):
        print(usage("pyunion save [OPTIONS] IMAGE [IMAGE...]", "Write images into an archive.", _SAVE))
        return 0
    form = options.one("format", _FORMATS[0])
    if not options.words or form not in _FORMATS:
        raise UsageError("it takes at least one image" if form in _FORMATS else f"unknown format {form!r}")
    from runtime.image.archive.save import save as save_images

    store = open_store(places)
    chosen = []
    for text in options.words:
        image = store.resolve(text)
        names = [name for name in image.names if text in (name, parse_reference(name).familiar)]
        names = names or [name for name in image.names if name == _complete(text)]
        chosen.append((image, (names or [""])[0]))
    with store.adding(), open_output(options.one("output")) as write:
        save_images(store, chosen, write, docker=form == _FORMATS[0])
    return 0


@contextmanager
def open_output(path: str) -> Iterator[Callable[[bytes], object]]:
    """A function that writes to the file `path`, which appears when it is whole, or to standard output."""
    if path in ("", "-"):
        if os.isatty(1):
            raise UsageError("an archive isn't written to a terminal: use --output, or redirect it")
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    draft = f"{path}.{os.getpid()}.new"
    try:
        with open(draft, "xb") as file:
            yield file.write
        os.rename(draft, path)
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)


def _complete(text: str) -> str:
    try:
        return str(parse_reference(text))
    except Exception:
        return ""
