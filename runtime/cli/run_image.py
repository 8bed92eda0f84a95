"""What `pyunion run IMAGE` takes from the image: its layers, and what its configuration says of the command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

from runtime.cli.flags.platform import read as read_platform
from runtime.cli.options import Parsed
from runtime.container.config import Volume
from runtime.errors import FAILURE, Refusal, UsageError
from runtime.image.errors import ImageError
from runtime.image.obtain import obtain
from runtime.image.store import Image, ImageStore
from runtime.places import Places

_PULLS = ("always", "missing", "never")


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
    health: dict[str, Any]
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


def with_layers(volume: Volume, places: Places) -> Volume:
    """A mount of an image with the layers of that, which is fetched if it isn't here. Raises Refusal."""
    store = ImageStore(places)
    store.prepare()
    with store.adding():
        try:
            layers = store.layers_of(obtain(store, volume.source, None, "missing"))
        except ImageError as error:
            raise Refusal(str(error), FAILURE) from None
    if not layers:
        raise Refusal(f"image {volume.source} is empty: there is nothing to mount", FAILURE)
    return volume._replace(layers=layers)


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
        volumes=sorted({_normal(path) for path in config.get("Volumes") or () if path.startswith("/")}),
        ports=sorted(config.get("ExposedPorts") or ()),
        health=_health(config.get("Healthcheck") or {}),
        root="",
    )


def _health(said: object) -> dict[str, Any]:
    """The health check, of the types it must have; an empty test is none. Raises Refusal."""
    if not isinstance(said, dict):
        raise Refusal("the image's configuration is damaged: Healthcheck", FAILURE)
    for key, value in said.items():
        is_test = isinstance(value, list) and all(isinstance(word, str) for word in value)
        is_known = not value or value[0] in ("NONE", "CMD", "CMD-SHELL") if is_test else isinstance(value, int)
        if is_test != (key == "Test") or not is_known:
            raise Refusal(f"the image's configuration is damaged: Healthcheck, {key}", FAILURE)
    return dict(said) if said.get("Test") else {}


def _normal(path: str) -> str:
    return "/" + os.path.normpath(path).lstrip("/")


def _get(store: ImageStore, name: str, options: Parsed) -> Image:
    platform = read_platform(options)
    pull = options.one("pull", "missing")
    if pull not in _PULLS:
        raise UsageError(f"unknown --pull {pull!r}: there are {', '.join(_PULLS)}")
    return obtain(store, name, platform, cast(Literal["always", "missing", "never"], pull), quiet=options.on("quiet"))
