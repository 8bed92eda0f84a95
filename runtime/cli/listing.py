"""The verb `ps`."""

import os
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any

from runtime.cli.filters import has_label, has_name, matches, read_filters
from runtime.cli.flags.process import number
from runtime.cli.options import Option, Parsed, verb
from runtime.cli.tables import FORMAT, QUIET, print_rows, shortened, span_text
from runtime.container.config import Config
from runtime.container.describe import status_of
from runtime.container.record import Container, Damaged
from runtime.container.store import Store
from runtime.names import SHORT_ID
from runtime.places import Places
from runtime.sizes import size_text

_FILTERS = (
    "ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since", "status",
    "volume",
)  # fmt: skip
_PS = (
    Option("all", "those that don't run, too", "a"),
    Option("filter", f"{'=, '.join(_FILTERS)}=", "f", "KEY=VALUE"),
    FORMAT,
    Option("last", "the N newest, whether they run or not", "n", "N"),
    Option("latest", "the newest, whether it runs or not", "l"),
    Option("no-trunc", "don't shorten ids and commands"),
    QUIET,
    Option("size", "also what each has written", "s"),
)
_COLUMNS = (
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
)
_SIZE = ("SIZE", "Size")
_FIELDS = ("CreatedAt", "Labels", "Mounts", "Networks", "State", "Size", "LocalVolumes")
_COMMAND_WIDTH = 20
_FEWEST_ID_DIGITS = 3


@verb("ps", "", "List containers, the newest first: those that run.", _PS, most=0)
def ps(options: Parsed, places: Places) -> int:
    """`pyunion ps`. Raises Refusal."""
    filters = read_filters(options.many("filter"), _FILTERS)
    count = 1 if options.on("latest") else number("last", options.one("last", "0"), -1)
    everyone = options.on("all") or count > 0 or any(key in ("status", "exited") for key, _ in filters)
    store = Store(places)
    store.sweep()
    filters = [(key, _birth(store, value) if key in ("before", "since") else value) for key, value in filters]
    full, sized = options.on("no-trunc"), options.on("size")
    rows = []
    for container in store.all():
        try:
            about = container.config(), container.state(), status_of(container, container.state())
        except FileNotFoundError:  # removed meanwhile
            continue
        except Damaged as error:
            print(f"pyunion ps: {error}", file=sys.stderr)
            continue
        shown = everyone or about[2] in ("running", "paused", "restarting")
        if shown and matches(filters, partial(_is, container, *about)):
            rows.append(_row(container, *about, full=full, sized=sized))
    rows = rows[:count] if count > 0 else rows
    if options.on("quiet"):
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        columns = (*_COLUMNS, _SIZE) if sized else _COLUMNS
        print_rows(rows, columns, options.one("format"), _FIELDS)
    return 0


def _row(
    container: Container, config: Config, state: dict[str, Any], status: str, *, full: bool, sized: bool
) -> dict[str, str]:
    command = " ".join(config.args)
    mounts = [volume.name or volume.source for volume in config.volumes]
    return {
        "ID": container.id if full else container.id[:SHORT_ID],
        "Image": config.image,
        "Command": f'"{command if full else shortened(command, _COMMAND_WIDTH)}"',
        "RunningFor": f"{span_text(config.created_s)} ago",
        "CreatedAt": _moment(config.created_s),
        "Status": _status(state, status),
        "State": status,
        "Ports": _ports(container),
        "Names": config.name,
        "Labels": ",".join(f"{key}={value}" for key, value in config.labels.items()),
        "Mounts": ",".join(mounts),
        "Networks": config.network,
        "Size": size_text(written(container.upper)) if sized else "",
        "LocalVolumes": str(sum(1 for volume in config.volumes if volume.name)),
    }


def _status(state: dict[str, Any], status: str) -> str:
    """As Docker says it."""
    if status in ("running", "paused"):
        health = state.get("health", {}).get("status", "")
        more = "Paused" if status == "paused" else "health: starting" if health == "starting" else health
        return f"Up {span_text(state['started_s'])}{f' ({more})' if more else ''}"
    if status == "created":
        return "Created"
    how = "Restarting" if status == "restarting" else "Exited"
    return f"{how} ({state['exit_code']}) {span_text(state['finished_s'])} ago"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def _ports(container: Container) -> str:
    if not os.path.exists(f"{container.run_directory}/network.json"):
        return ""
    from runtime.network.describe import ports_text

    return ports_text(container.places, container.id)


def _published(container: Container) -> set[str]:
    """Ports of this machine that are its own: 8080/tcp."""
    ends = (text.split("->") for text in _ports(container).split(", ") if "->" in text)
    return {f"{outside.rpartition(':')[2]}/{inside.partition('/')[2]}" for outside, inside in ends}


def written(upper: str) -> int:
    """Bytes that the files of an upper layer take."""
    total = 0
    for folder, _, names in os.walk(upper):
        for name in names:
            with suppress(FileNotFoundError):  # removed meanwhile
                total += os.lstat(f"{folder}/{name}").st_blocks * 512
    return total


def _birth(store: Store, name: str) -> str:
    """When a container was made. Raises Refusal: there is none."""
    return str(store.find(name).config().created_s)


def _is(container: Container, config: Config, state: dict[str, Any], status: str, key: str, value: str) -> bool:
    if key == "label":
        return has_label(config.labels, value)
    if key == "exited":
        return status == "exited" and str(state["exit_code"]) == value
    if key == "health":
        return value == (state.get("health", {}).get("status", "none") if status == "running" else "none")
    if key in ("before", "since"):
        return config.created_s != float(value) and (config.created_s < float(value)) == (key == "before")
    if key in ("expose", "publish"):
        port = value if "/" in value else f"{value}/tcp"
        return port in (config.ports if key == "expose" else _published(container))
    if key == "volume":
        return any(value in (volume.name, volume.source, volume.target) for volume in config.volumes)
    if key == "ancestor":
        return _is_of(config, value)
    if key == "name":
        return has_name(config.name, value) or has_name(f"/{config.name}", value)
    return {"id": config.id.startswith(value), "network": config.network == value, "status": status == value}[key]


def _is_of(config: Config, text: str) -> bool:
    """Whether a container is of the image that a name, with or without a tag, or the beginning of an id means."""
    if not config.image_id:
        return text == config.image
    from runtime.image.errors import ImageError
    from runtime.image.reference import parse_reference

    identity = config.image_id.partition(":")[2]
    if text == config.image_id or (len(text) >= _FEWEST_ID_DIGITS and identity.startswith(text)):
        return True
    try:
        own, wanted = parse_reference(config.image), parse_reference(text)
    except ImageError:  # it was run by an id, or from elsewhere
        return text == config.image
    return own == wanted or text in (own.name, own.familiar_name)
