"""The verbs on images that are here: `images`, `rmi`, `tag`, `history`, `inspect`, `prune`."""

import json
import sys
from typing import Any

from runtime.cli.options import HELP, Option, parse, usage
from runtime.cli.tables import ago, print_table, size_text
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError
from runtime.image.errors import Missing
from runtime.image.reference import parse_reference
from runtime.image.store import Image, ImageStore
from runtime.places import Places

_IMAGES = (
    Option("digests", "show the digests of manifests, too"),
    Option("format", "json: a line of JSON for each", "", "FORMAT"),
    Option("no-trunc", "don't shorten ids"),
    Option("quiet", "ids only", "q"),
)
_RMI = (Option("force", "remove all names of an image; don't complain if there is none", "f"),)
_HISTORY = (Option("no-trunc", "don't shorten ids and commands"), Option("quiet", "ids only", "q"))
_PRUNE = (
    Option("all", "images that no container uses, too", "a"),
    Option("force", "accepted for Docker's sake: nothing is asked", "f"),
)
_INSPECT = (Option("format", "json: on one line", "f", "FORMAT"),)
_COMMAND_WIDTH = 45


def images(arguments: list[str], places: Places) -> int:
    """`pyunion images`. Raises Refusal."""
    options = parse(arguments, _IMAGES, anywhere=True)
    if options.on(HELP.name):
        print(usage("pyunion images [OPTIONS] [NAME[:TAG]]", "List images, the newest first.", _IMAGES))
        return 0
    full = options.on("no-trunc")
    rows = [row for image in open_store(places).images() for row in _rows(image, full)]
    if options.words:
        wanted = parse_reference(options.words[0])
        tagged = ":" in options.words[0].rpartition("/")[2]
        rows = [row for row in rows if row["Repository"] == wanted.familiar_name and row["Tag"] in (
            (wanted.tag,) if tagged else (row["Tag"],))]  # fmt: skip
    rows.sort(key=lambda row: row["CreatedAt"], reverse=True)
    if options.on("quiet"):
        print("".join(f"{name}\n" for name in dict.fromkeys(row["ID"] for row in rows)), end="")
    elif options.one("format"):
        _only_json(options.one("format"))
        print("".join(json.dumps(row) + "\n" for row in rows), end="")
    else:
        _print_images(rows, options.on("digests"))
    return 0


def rmi(arguments: list[str], places: Places) -> int:
    """`pyunion rmi`: 1 if one of the images could not be removed. Raises UsageError."""
    options = parse(arguments, _RMI, anywhere=True)
    if options.on(HELP.name):
        print(usage("pyunion rmi [OPTIONS] IMAGE [IMAGE...]", "Remove names of images, and images without any.", _RMI))
        return 0
    if not options.words:
        raise UsageError("it takes at least one image")
    store = open_store(places)
    status = 0
    for text in options.words:
        try:
            _remove(store, places, text, force=options.on("force"))
        except Missing as error:
            if not options.on("force"):
                print(f"pyunion rmi: {error}", file=sys.stderr)
                status = 1
        except Refusal as error:
            print(f"pyunion rmi: {error}", file=sys.stderr)
            status = 1
    store.collect(_layers_in_use(places))
    return status


def tag(arguments: list[str], places: Places) -> int:
    """`pyunion tag`. Raises Refusal."""
    options = parse(arguments, ())
    if options.on(HELP.name):
        print(usage("pyunion tag IMAGE NAME[:TAG]", "Give an image one more name.", ()))
        return 0
    if len(options.words) != 2:
        raise UsageError("it takes an image and a name")
    store = open_store(places)
    with store.adding():
        store.tag(store.resolve(options.words[0]), parse_reference(options.words[1]))
    return 0


def history(arguments: list[str], places: Places) -> int:
    """`pyunion history`: the newest step first. Raises Refusal."""
    options = parse(arguments, _HISTORY, anywhere=True)
    if options.on(HELP.name):
        print(usage("pyunion history [OPTIONS] IMAGE", "Show how an image was made.", _HISTORY))
        return 0
    if len(options.words) != 1:
        raise UsageError("it takes exactly one image")
    image = open_store(places).resolve(options.words[0])
    sizes = [layer.size for layer in image.manifest().layers]
    steps = image.config().history or [{} for _ in sizes]
    rows = []
    for step in steps:
        size = sizes.pop(0) if sizes and not step.get("empty_layer") else 0
        command = " ".join(str(step.get("created_by", "")).split())
        if not options.on("no-trunc") and len(command) > _COMMAND_WIDTH:
            command = command[: _COMMAND_WIDTH - 1] + "…"
        rows.append(("<missing>", ago(step.get("created")), command, size_text(size), str(step.get("comment", ""))))
    if rows:
        name = str(image.id) if options.on("no-trunc") else image.id.short
        rows[-1] = (name, *rows[-1][1:])
    rows.reverse()
    if options.on("quiet"):
        print("".join(f"{row[0]}\n" for row in rows), end="")
    else:
        print_table([("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"), *rows])
    return 0


def prune(arguments: list[str], places: Places) -> int:
    """`pyunion prune`: what killed processes left, images without a name, and blobs and layers of no image."""
    options = parse(arguments, _PRUNE)
    if options.on(HELP.name):
        print(usage("pyunion prune [OPTIONS]", "Remove what no image and no container needs.", _PRUNE))
        return 0
    store = open_store(places)
    layers = _layers_in_use(places)
    used = {config.image_id for config in _configs(places)}
    for image in store.images():
        idle = str(image.id) not in used
        if idle and (not image.names or options.on("all")):
            store.remove(image)
            print(f"Deleted: {image.id}")
    freed = store.collect(layers)
    if freed is None:
        raise Refusal("images are being added just now: try again when that is done", status=1)
    print(f"Total reclaimed space: {size_text(freed)}")
    return 0


def inspect(arguments: list[str], places: Places) -> int:
    """`pyunion inspect`: containers and images as JSON. Raises Refusal."""
    options = parse(arguments, _INSPECT, anywhere=True)
    if options.on(HELP.name):
        print(usage("pyunion inspect [OPTIONS] NAME [NAME...]", "Show all about containers and images.", _INSPECT))
        return 0
    if not options.words:
        raise UsageError("it takes at least one container or image")
    if options.one("format"):
        _only_json(options.one("format"))
    found = [_inspected(places, name) for name in options.words]
    print(json.dumps(found, indent=None if options.one("format") else 4))
    return 0


def open_store(places: Places) -> ImageStore:
    """The store, its directories made."""
    store = ImageStore(places)
    store.prepare()
    return store


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
        "Config": config.config,
        "RootFS": {"Type": "layers", "Layers": [str(diff_id) for diff_id in config.diff_ids]},
        "ManifestType": image.descriptor.media_type,
        "History": config.history,
    }


def _inspected(places: Places, name: str) -> dict[str, Any]:
    try:
        container = Store(places).find(name)
    except Refusal:
        return describe_image(open_store(places).resolve(name))
    return {**container.config()._asdict(), "State": container.state()}


def _rows(image: Image, full: bool) -> list[dict[str, Any]]:
    """A row for each name."""
    row = {
        "ID": str(image.id) if full else image.id.short,
        "Digest": str(image.descriptor.digest),
        "CreatedAt": image.config().created,
        "Size": image.size,
    }
    names = [parse_reference(name) for name in image.names]
    if not names:
        return [{"Repository": "<none>", "Tag": "<none>", **row}]
    return [{"Repository": name.familiar_name, "Tag": name.tag or "<none>", **row} for name in names]


def _print_images(rows: list[dict[str, Any]], digests: bool) -> None:
    table = [("REPOSITORY", "TAG", *(("DIGEST",) if digests else ()), "IMAGE ID", "CREATED", "SIZE")]
    for row in rows:
        middle = (row["Digest"],) if digests else ()
        table.append((
            row["Repository"], row["Tag"], *middle, row["ID"], ago(row["CreatedAt"]), size_text(row["Size"])
        ))  # fmt: skip
    print_table(table)


def _remove(store: ImageStore, places: Places, text: str, *, force: bool) -> None:
    image = store.resolve(text)
    names = [name for name in image.names if name == _complete(text)]
    if names and len(image.names) > 1:
        store.untag(names[0])
        print(f"Untagged: {parse_reference(names[0]).familiar}")
        return
    if len(image.names) > 1 and not force:
        raise Refusal(f"image {text} has more than one name: remove them, or use --force", status=1)
    users = [config.name for config in _configs(places) if config.image_id == str(image.id)]
    if users and not force:
        raise Refusal(f"image {text} is in use by container {users[0]}", status=1)
    store.remove(image)
    for name in image.familiar_names():
        print(f"Untagged: {name}")
    print(f"Deleted: {image.id}")


def _complete(text: str) -> str:
    try:
        return str(parse_reference(text))
    except Refusal:
        return ""


def _configs(places: Places) -> list[Any]:
    configs = []
    for container in Store(places).all():
        try:
            configs.append(container.config())
        except FileNotFoundError:  # removed meanwhile
            continue
    return configs


def _layers_in_use(places: Places) -> set[str]:
    return {layer for config in _configs(places) for layer in config.layers}


def _only_json(text: str) -> None:
    if text not in ("json", "{{json .}}"):
        raise UsageError(f"unknown format {text!r}: json is the one there is")
