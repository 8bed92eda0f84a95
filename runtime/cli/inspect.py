"""The verb `inspect`: all about containers and images."""

from typing import Any

from runtime.cli.listing import written
from runtime.cli.options import Option, Parsed, verb
from runtime.cli.tables import FORMAT_DESCRIBED, print_described
from runtime.container.describe import describe_container
from runtime.container.record import Container
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError
from runtime.image.errors import ImageError, Missing
from runtime.image.reference import parse_reference
from runtime.image.store import Image, ImageStore
from runtime.places import Places

_INSPECT = (
    FORMAT_DESCRIBED,
    Option("size", "also what a container has written (SizeRw), and all of it (SizeRootFs)", "s"),
    Option("type", "container or image, where a name is both", "", "TYPE"),
)
_TYPES = ("", "container", "image")
_CONFIG: dict[str, Any] = {
    "User": "", "ExposedPorts": {}, "Env": [], "Entrypoint": [], "Cmd": [], "Volumes": {}, "WorkingDir": "",
    "Labels": {}, "StopSignal": "", "OnBuild": [], "Healthcheck": None, "Shell": [],
}  # fmt: skip
"""What a configuration that leaves it out says: a template shall find every field."""


@verb("inspect", "NAME [NAME...]", "Show all about containers and images.", _INSPECT, least=1)
def inspect(options: Parsed, places: Places) -> int:
    """`pyunion inspect`. Raises Refusal."""
    kind = options.one("type")
    if kind not in _TYPES:
        raise UsageError(f"unknown --type {kind!r}: there are container and image")
    found = [_describe(places, name, kind, sized=options.on("size")) for name in options.words]
    print_described(found, options.one("format"))
    return 0


def describe_image(image: Image) -> dict[str, Any]:
    """All about an image, in Docker's words."""
    config = image.config()
    names = [parse_reference(name) for name in image.names]
    return {
        "Id": str(image.id),
        "RepoTags": [name.familiar for name in names if name.tag and not name.digest],
        "RepoDigests": sorted({f"{name.familiar_name}@{image.descriptor.digest}" for name in names}),
        "Created": config.created,
        "Author": config.raw.get("author", ""),
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant,
        "Os": config.platform.os,
        "Size": image.size,
        "Config": {**_CONFIG, **{key: value for key, value in config.config.items() if value is not None}},
        "RootFS": {"Type": "layers", "Layers": [str(diff_id) for diff_id in config.diff_ids]},
        "ManifestType": image.descriptor.media_type,
        "Digest": str(image.descriptor.digest),
        "History": config.history,
    }


def _describe(places: Places, name: str, kind: str, *, sized: bool) -> dict[str, Any]:
    """A container, or else an image. Raises Refusal."""
    if kind != "image":
        try:
            container = Store(places).find(name)
        except Refusal:
            if kind == "container":
                raise
        else:
            return {**describe_container(container), **(_sizes(container) if sized else {})}
    try:
        return describe_image(ImageStore(places).resolve(name))
    except Missing as error:
        raise error if kind else ImageError(f"no such container or image: {name}") from None


def _sizes(container: Container) -> dict[str, int]:
    own = written(container.upper)
    return {"SizeRw": own, "SizeRootFs": own + sum(map(written, container.config().layers))}
