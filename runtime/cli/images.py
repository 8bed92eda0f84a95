"""The verbs that look at images and name them: `images`, `history` and `tag`."""

import datetime
import sys
from typing import Any

from runtime.cli.image_filters import created_s, read_image_filters
from runtime.cli.options import Option, Parsed, verb
from runtime.cli.tables import FORMAT, QUIET, ago, print_rows, shortened
from runtime.image.errors import Corrupt, ImageError
from runtime.image.reference import Reference, parse_name, parse_reference
from runtime.image.store import Image, ImageStore
from runtime.places import Places
from runtime.sizes import size_text

_IMAGES = (
    Option("all", "accepted for Docker's sake: there are no hidden images", "a"),
    Option("digests", "show the digests of manifests, too"),
    Option("filter", "before=, dangling=, label=, reference=, since= or until=", "f", "KEY=VALUE"),
    FORMAT,
    Option("no-trunc", "don't shorten ids"),
    QUIET,
)
_HISTORY = (
    FORMAT,
    Option("human", "sizes and times for people (the default); =false: bytes and dates", "H"),
    Option("no-trunc", "don't shorten ids and commands"),
    QUIET,
)
_FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")
_IMAGE_FIELDS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "CreatedAt", "Size")
_HISTORY_FIELDS = ("ID", "CreatedSince", "CreatedAt", "CreatedBy", "Size", "Comment")
_COMMAND_WIDTH = 45
_NONE = "<none>"


@verb("images", "[NAME[:TAG]]", "List images, the newest first.", _IMAGES, most=1)
def images(options: Parsed, places: Places) -> int:
    """`pyunion images`: 1 if one of them can't be read. Raises Refusal."""
    store = ImageStore(places)
    filters = [*options.many("filter"), *(f"reference={word}" for word in options.words)]
    wanted = read_image_filters(filters, store, _FILTERS)
    whole, broken = _readable(store)
    rows = [
        _row(image, name, options.on("no-trunc"))
        for image in sorted(whole, key=created_s, reverse=True)
        for name in _names(image)
        if wanted(image, name)
    ]
    if options.on("quiet"):
        print("".join(f"{identity}\n" for identity in dict.fromkeys(row["ID"] for row in rows)), end="")
    else:
        digest = [("DIGEST", "Digest")] if options.on("digests") else []
        columns = [("REPOSITORY", "Repository"), ("TAG", "Tag"), *digest, ("IMAGE ID", "ID"),
                   ("CREATED", "CreatedSince"), ("SIZE", "Size")]  # fmt: skip
        print_rows(rows, columns, options.one("format"), _IMAGE_FIELDS)
    for message in broken:
        print(f"pyunion images: {message}", file=sys.stderr)
    return 1 if broken else 0


@verb("history", "IMAGE", "Show how an image was made.", _HISTORY, least=1, most=1)
def history(options: Parsed, places: Places) -> int:
    """`pyunion history`: the newest step first. Raises Refusal."""
    image = ImageStore(places).resolve(options.words[0])
    human = options.on("human", default=True)
    rows = _steps(image, full=options.on("no-trunc"), human=human)
    if options.on("quiet"):
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        created = "CreatedSince" if human else "CreatedAt"
        columns = [("IMAGE", "ID"), ("CREATED", created), ("CREATED BY", "CreatedBy"), ("SIZE", "Size"),
                   ("COMMENT", "Comment")]  # fmt: skip
        print_rows(rows, columns, options.one("format"), _HISTORY_FIELDS)
    return 0


@verb("tag", "IMAGE NAME[:TAG]", "Give an image one more name.", least=2, most=2)
def tag(options: Parsed, places: Places) -> int:
    """`pyunion tag`. Raises Refusal."""
    store = open_store(places)
    with store.adding():
        store.tag(store.resolve(options.words[0]), parse_name(options.words[1]))
    return 0


def open_store(places: Places) -> ImageStore:
    """The store, its directories made."""
    store = ImageStore(places)
    store.prepare()
    return store


def complete(text: str) -> str:
    """A name with all its parts; empty: it is none, such as an id's beginning."""
    try:
        return str(parse_reference(text))
    except ImageError:
        return ""


def _readable(store: ImageStore) -> tuple[list[Image], list[str]]:
    """The images whose documents are in order, and what is wrong with the others."""
    whole, broken = [], []
    for image in store.images():
        try:
            image.config()
            whole.append(image)
        except Corrupt as error:
            broken.append(str(error))
    return whole, broken


def _names(image: Image) -> list[Reference | None]:
    """One for each row."""
    return [parse_reference(name) for name in image.names] or [None]


def _row(image: Image, name: Reference | None, full: bool) -> dict[str, Any]:
    """An image by one of its names."""
    return {
        "Repository": name.familiar_name if name else _NONE,
        "Tag": name.tag or _NONE if name else _NONE,
        "Digest": str(image.descriptor.digest),
        "ID": str(image.id) if full else image.id.short,
        "CreatedSince": ago(image.config().created),
        "CreatedAt": _date(image.config().created),
        "Size": size_text(image.size),
    }


def _steps(image: Image, *, full: bool, human: bool) -> list[dict[str, Any]]:
    """The history of an image, the newest step first."""
    sizes = [layer.size for layer in image.manifest().layers]
    rows = []
    for step in image.config().history or [{} for _ in sizes]:
        size = sizes.pop(0) if sizes and not step.get("empty_layer") else 0
        command = " ".join(str(step.get("created_by", "")).split())
        rows.append({
            "ID": "<missing>",
            "CreatedSince": ago(step.get("created")),
            "CreatedAt": _date(step.get("created")),
            "CreatedBy": command if full else shortened(command, _COMMAND_WIDTH),
            "Size": size_text(size) if human else str(size),
            "Comment": str(step.get("comment", "")),
        })  # fmt: skip
    if rows:
        rows[-1]["ID"] = str(image.id) if full else image.id.short
    return rows[::-1]


def _date(moment: object) -> str:
    """A time of an image as Docker shows it; N/A if it has none."""
    try:
        return datetime.datetime.fromisoformat(str(moment)).isoformat(sep=" ", timespec="seconds")
    except ValueError:
        return "N/A"
