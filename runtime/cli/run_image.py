"""What `pyunion run IMAGE` takes from the image: its layers, and what its configuration says of the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from runtime.cli.options import Parsed
from runtime.errors import FAILURE, Refusal, UsageError
from runtime.image.errors import ImageError, Missing
from runtime.image.platform import Platform, parse_platform
from runtime.image.reference import Reference, parse_reference
from runtime.image.store import Image, ImageStore
from runtime.places import Places

_PULLS = ("always", "missing", "never")
_TRANSPORTS = ("oci", "oci-archive", "docker-archive")


class FromImage(NamedTuple):
    """What a container gets from its image."""

    layers: list[str]
    image: str
    image_id: str
    args: list[str]
    env: list[str]
    user: str
    workdir: str
    stop_signal: str
    labels: dict[str, str]
    volumes: list[str]
    ports: list[str]
    root: str
    """A layer whose own directory is what the root directory is to be like; empty: there is none."""


@contextmanager
def prepare(options: Parsed, places: Places) -> Iterator[FromImage]:
    """Have the image that the first word names ready, and kept as long as this is held. Raises Refusal."""
    name, *command = options.words
    store = ImageStore(places)
    store.prepare()
    with store.adding():
        try:
            image = _get(store, name, options)
            layers = store.layers_of(image)
            found = _from(image, name, layers, options, command)._replace(root=store.root_of(image.config().diff_ids))
        except ImageError as error:
            raise Refusal(str(error), FAILURE) from None
        yield found


def _from(image: Image, name: str, layers: list[str], options: Parsed, command: list[str]) -> FromImage:
    config = image.config().config
    entrypoint = list(config.get("Entrypoint") or ())
    usual = list(config.get("Cmd") or ())
    if options.many("entrypoint"):
        entrypoint, usual = [options.one("entrypoint")] if options.one("entrypoint") else [], []
    args = [*entrypoint, *(command or usual)]
    if not args:
        raise UsageError("no command given, and the image has none")
    return FromImage(
        layers=layers,
        image=name,
        image_id=str(image.id),
        args=args,
        env=[setting for setting in config.get("Env") or () if "=" in setting[1:]],
        user=config.get("User") or "",
        workdir=config.get("WorkingDir") or "",
        stop_signal=config.get("StopSignal") or "",
        labels=dict(config.get("Labels") or {}),
        volumes=sorted(path for path in config.get("Volumes") or () if path.startswith("/")),
        ports=sorted(config.get("ExposedPorts") or ()),
        root="",
    )


def _get(store: ImageStore, name: str, options: Parsed) -> Image:
    platform = parse_platform(options.one("platform")) if options.one("platform") else None
    pull = options.one("pull", "missing")
    if pull not in _PULLS:
        raise UsageError(f"unknown --pull {pull!r}: there are {', '.join(_PULLS)}")
    transport, _, rest = name.partition(":")
    if transport in _TRANSPORTS and rest:
        return _load(store, rest, platform)
    if pull != "always":
        try:
            return _check(store.resolve(name), name, platform)
        except Missing:
            if pull == "never":
                raise
    return _pull(store, parse_reference(name), platform)


def _check(image: Image, name: str, platform: Platform | None) -> Image:
    """Raises Missing if what is here is for another platform than was asked for."""
    if platform is not None and image.config().platform != platform:
        raise Missing(f"image {name} is here for {image.config().platform}, not for {platform}")
    return image


def _load(store: ImageStore, text: str, platform: Platform | None) -> Image:
    """`PATH[:TAG]`; a path may have colons if a tag follows."""
    import os

    from runtime.image.archive.load import Wanted, load

    path, _, tag = ("", "", "") if os.path.exists(text) else text.partition(":")
    while path and not os.path.exists(path) and ":" in tag:
        more, _, tag = tag.partition(":")
        path = f"{path}:{more}"
    images = load(store, path or text, Wanted(tag, platform))
    if len(images) > 1:
        raise ImageError(f"{text}: there are {len(images)} images in it: say which, as {text}:NAME")
    return images[0]


def _pull(store: ImageStore, reference: Reference, platform: Platform | None) -> Image:
    from runtime.image.registry.progress import make_progress
    from runtime.image.registry.pull import pull
    from runtime.image.registry.registries import Access, Registries

    return pull(store, Registries(Access()), reference, make_progress(False), platform)
