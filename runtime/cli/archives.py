"""The verbs that move images and trees between the store and files: `load`, `save`, `import`, `export`, `commit`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from runtime.cli.flags.tables import PLATFORM
from runtime.cli.images import complete, open_store
from runtime.cli.options import Option, Parsed, verb
from runtime.container.config import Config
from runtime.container.describe import describe_container, status_of
from runtime.container.record import Container
from runtime.container.store import Store, skeleton
from runtime.drafts import beside
from runtime.errors import Refusal, UsageError, named
from runtime.image.errors import ImageError, Missing
from runtime.image.reference import parse_name, parse_reference
from runtime.image.store import Image, ImageStore
from runtime.places import Places

_OUTPUT = Option("output", "write this file instead of standard output", "o", "FILE")
_LOAD = (
    Option("input", "read this file or directory instead of standard input", "i", "FILE"),
    PLATFORM,
    Option("quiet", "accepted for Docker's sake", "q"),
)
_SAVE = (
    Option("format", "docker-archive (the default; an oci-archive at the same time) or oci-archive", "", "FORMAT"),
    _OUTPUT,
)
_CHANGE = Option("change", "change the configuration by an instruction of a Dockerfile", "c", "INSTRUCTION")
_MESSAGE = Option("message", "a note for the history", "m", "TEXT")
_IMPORT = (_CHANGE, _MESSAGE, Option("platform", "that it is for", "", "OS/ARCH[/VARIANT]"))
_COMMIT = (
    Option("author", "who made it", "a", "NAME"),
    _CHANGE,
    _MESSAGE,
    Option("pause", "suspend the container meanwhile (the default); =false: don't", "p"),
    Option("quiet", "accepted for Docker's sake", "q"),
)
_OF_CONTAINERS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
)  # fmt: skip
"""What an image gets from the container that it is made of, as Docker does it."""
_FORMATS = ("docker-archive", "oci-archive")


@verb(
    "load",
    "[FILE]",
    "Take images out of a docker-archive, an oci-archive or an OCI layout, compressed or not.",
    _LOAD,
    most=1,
)
def load(options: Parsed, places: Places) -> int:
    """`pyunion load`. Raises Refusal."""
    if len(options.words) + len(options.many("input")) > 1:
        raise UsageError("it takes one file")
    from runtime.cli.flags.platform import read as read_platform
    from runtime.image.archive.load import Wanted
    from runtime.image.archive.load import load as load_images
    from runtime.image.obtain import is_elsewhere, load_from

    platform = read_platform(options)
    path = options.one("input") or (options.words or ["-"])[0]
    store = open_store(places)
    elsewhere = is_elsewhere(path) and not os.path.exists(path)
    found = load_from(store, path, platform) if elsewhere else load_images(store, path, Wanted(platform=platform))
    for image in found:
        for name in image.familiar_names():
            print(f"Loaded image: {name}")
        if not image.names:
            print(f"Loaded image ID: {image.id}")
    return 0


@verb("save", "IMAGE [IMAGE...]", "Write images into an archive.", _SAVE, least=1)
def save(options: Parsed, places: Places) -> int:
    """`pyunion save`. Raises Refusal."""
    form = options.one("format", _FORMATS[0])
    if form not in _FORMATS:
        raise UsageError(f"unknown --format {form!r}: there are {' and '.join(_FORMATS)}")
    from runtime.image.archive.save import save as save_images

    store = open_store(places)
    chosen = []
    for text in options.words:
        image = store.resolve(text)
        names = [name for name in image.names if text in (name, parse_reference(name).familiar)]
        names = names or [name for name in image.names if name == complete(text)]
        chosen.append((image, (names or [""])[0]))
    with store.adding(), open_output(options.one("output")) as write:
        save_images(store, chosen, write, docker=form == _FORMATS[0])
    return 0


@verb(
    "import",
    "FILE|DIR|- [NAME[:TAG]]",
    "Make an image of a root filesystem: a directory, a tar file, or - for standard input.",
    _IMPORT,
    least=1,
    most=2,
)
def import_tree(options: Parsed, places: Places) -> int:
    """`pyunion import`. Raises Refusal."""
    from runtime.build.settings import changing
    from runtime.cli.flags.platform import read as read_platform
    from runtime.image.archive.files import open_input
    from runtime.image.errors import concerning
    from runtime.image.make import Step, make_image, make_layer, take_layer
    from runtime.image.tar.pack import pack_tree

    path = options.words[0]
    reference = parse_name(options.words[1]) if len(options.words) > 1 else None
    platform = read_platform(options)
    change = changing(options.many("change"))
    store = open_store(places)
    with store.adding(), concerning("standard input" if path == "-" else path):
        if path != "-" and os.path.isdir(path):
            layer = make_layer(store, lambda write: pack_tree([path], write))
        else:
            with open_input(path) as file:
                layer = take_layer(store, file)
        step = Step(comment=options.one("message") or f"Imported from {path}")
        image = make_image(store, None, layer, step, change=change, reference=reference, platform=platform)
    print(image.id)
    return 0


@verb("export", "CONTAINER", "Write a container's tree as a tar file.", (_OUTPUT,), least=1, most=1)
def export(options: Parsed, places: Places) -> int:
    """`pyunion export`. Raises Refusal."""
    from runtime.image.tar.pack import pack_tree

    container, lower = _container(options.words[0], places)
    with open_output(options.one("output")) as write:
        pack_tree([container.upper, *lower], write, container.workdir)
    return 0


@verb("commit", "CONTAINER [NAME[:TAG]]", "Make an image of a container.", _COMMIT, least=1, most=2)
def commit(options: Parsed, places: Places) -> int:
    """`pyunion commit`. Raises Refusal."""
    from runtime.build.settings import changing
    from runtime.image.make import Step, make_image, make_layer
    from runtime.image.tar.pack import pack_changes

    container, lower = _container(options.words[0], places)
    config = container.config()
    if not config.image_id:
        raise Refusal(f"container {config.name} is of no image: use pyunion export and pyunion import", status=1)
    reference = parse_name(options.words[1]) if len(options.words) > 1 else None
    change = changing(options.many("change"))
    store = open_store(places)
    with store.adding():
        base = _base(store, config)
        root = store.root_of(base.config().diff_ids)
        with _suspended(container) if options.on("pause", default=True) else nullcontext():
            layer = make_layer(store, partial(pack_changes, container.upper, container.workdir, lower, root=root))
        step = Step(" ".join(config.args), options.one("message"), options.one("author"))
        fields = {key: describe_container(container)["Config"][key] for key in _OF_CONTAINERS}
        image = make_image(store, base, layer, step, fields=fields, change=change, reference=reference)
    print(image.id)
    return 0


def _base(store: ImageStore, config: Config) -> Image:
    """Raises ImageError: the image of a container was removed by force."""
    try:
        return store.resolve(config.image_id)
    except Missing:
        raise ImageError(
            f"the image of container {config.name} was removed: use pyunion export and pyunion import"
        ) from None


@contextmanager
def _suspended(container: Container) -> Iterator[None]:
    """While this is held, a container that runs changes nothing. Raises Refusal."""
    from runtime.container import cgroups

    group = cgroups.find(container.id, container.config().limits)
    if status_of(container, container.state()) != "running":
        yield
        return
    try:
        group.freeze()
        yield
    finally:
        group.thaw()


def _container(name: str, places: Places) -> tuple[Container, list[str]]:
    """A container, and what lies below its upper, uppermost first."""
    store = Store(places)
    store.sweep()
    container = store.find(name)
    return container, [*container.config().layers, skeleton(places)]


@contextmanager
def open_output(path: str) -> Iterator[Callable[[bytes], object]]:
    """A function that writes to the file `path`, which appears when it is whole, or to standard output."""
    if path in ("", "-"):
        if os.isatty(1):
            raise UsageError("an archive isn't written to a terminal: use --output, or redirect it")
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device isn't to be replaced
        with named(path), open(path, "wb") as file:
            yield file.write
        return
    draft = beside(path)
    try:
        with named(path), open(draft, "xb") as file:
            yield file.write
        os.rename(draft, path)
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)
