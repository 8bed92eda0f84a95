"""The verbs that tell what happened: `logs` and `events`."""

import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from runtime.cli.filters import has_label, matches, read_filters
from runtime.cli.flags.process import number
from runtime.cli.moments import as_ns, parse_moment
from runtime.cli.options import Option, Parsed, verb
from runtime.cli.run import open_store
from runtime.container import control, follow
from runtime.container import events as record_of_events
from runtime.container.logfile import Record, parts, records, timestamp
from runtime.container.record import Container
from runtime.errors import Refusal, one_line
from runtime.places import Places

_SPAN = (
    Option("since", "leave out what was before this moment: RFC 3339, seconds since 1970, or 1h30m ago", "", "MOMENT"),
    Option("until", "leave out what was after this moment", "", "MOMENT"),
)
_LOGS = (
    Option("details", "accepted for Docker's sake"),
    Option("follow", "go on until the container ends", "f"),
    *_SPAN,
    Option("tail", "only this many lines before those to come, or all (the default)", "n", "N"),
    Option("timestamps", "begin each line with its time", "t"),
)
_EVENTS = (
    *_SPAN,
    Option("filter", "container=, event=, image=, label=, type=", "f", "KEY=VALUE"),
    Option("format", "json, or a template", "", "FORMAT"),
)
_FILTERS = ("container", "event", "image", "label", "type")


@verb("logs", "CONTAINER", "Show what a container's command wrote.", _LOGS, least=1, most=1)
def logs(options: Parsed, places: Places) -> int:
    """`pyunion logs`. Raises Refusal."""
    container = open_store(places).find(options.words[0])
    if container.config().log.get("driver") == "none":
        raise Refusal(f"container {options.words[0]} has no log: it was made with --log-driver none", status=1)
    since, until = _span(options)
    for record in _records(container, options):
        if since <= as_ns(record.time) <= until:
            _print(record, options)
        elif as_ns(record.time) > until:
            break
    return 0


@verb("events", "", "Show what happens to containers.", _EVENTS, most=0)
def events(options: Parsed, places: Places) -> int:
    """`pyunion events`: until --until, or for ever. Raises Refusal."""
    filters = read_filters(options.many("filter"), _FILTERS)
    open_store(places).prepare()
    past = bool(options.one("since"))
    since, until = _span(options)
    path = record_of_events.log_of(places)
    start = 0 if past or not os.path.exists(path) else os.stat(path).st_size
    for event in record_of_events.read(_event_lines(path, start, follows=until == sys.maxsize)):
        if since <= event["time_ns"] <= until and matches(filters, partial(_is, event)):
            print(_event_text(event, options.one("format")), flush=True)
    return 0


def _records(container: Container, options: Parsed) -> Iterator[Record]:
    tail = options.one("tail", "all")
    old = _lines_of(parts(container.log))
    follows = options.on("follow")
    ends = -1
    if follows:
        try:
            ends = control.connect(container.run_directory)
        except OSError:
            follows = False
    if tail not in ("all", "-1"):
        kept = number("tail", tail, 0)
        count = sum(1 for _ in _lines_of(parts(container.log)))
        skipped = max(0, count - kept)
    else:
        skipped = 0
    if not follows:
        yield from itertools.islice(records(old), skipped, None)
        return
    rotated = parts(container.log)[:-1]
    lines = itertools.chain(_lines_of(rotated), follow.lines(container.log, ends))
    yield from itertools.islice(records(lines), skipped, None)


def _lines_of(paths: Iterable[str]) -> Iterator[bytes]:
    for path in paths:
        with open(path, "rb") as file:
            yield from file


def _print(record: Record, options: Parsed) -> None:
    stream = sys.stdout if record.stream == "stdout" else sys.stderr
    text = f"{record.time} {record.text}" if options.on("timestamps") else record.text
    stream.buffer.write(text.encode(errors="surrogateescape"))
    stream.flush()


def _span(options: Parsed) -> tuple[int, int]:
    since, until = (options.one(name) for name in ("since", "until"))
    return parse_moment("since", since) if since else 0, parse_moment("until", until) if until else sys.maxsize


def _event_lines(path: str, start: int, *, follows: bool) -> Iterator[bytes]:
    if follows:
        yield from itertools.islice(follow.lines(path), _count(path, start), None)
        return
    yield from _lines_of(one for one in (f"{path}.1", path) if os.path.exists(one))


def _count(path: str, size: int) -> int:
    """How many lines the first `size` bytes of a file have."""
    if not size:
        return 0
    with open(path, "rb") as file:
        return file.read(size).count(b"\n")


def _is(event: dict[str, Any], key: str, value: str) -> bool:
    about: dict[str, str] = event["attributes"]
    if key == "container":
        return about["name"] == value or (bool(value) and str(event["id"]).startswith(value))
    if key == "label":
        return has_label(about, value)
    return bool({"event": event["action"], "image": about["image"], "type": event["type"]}[key] == value)


def _event_text(event: dict[str, Any], form: str) -> str:
    if form in ("json", "{{json .}}"):
        return json.dumps(_docker_event(event))
    if form:
        from runtime.cli.template import Template

        return Template(form).render(_docker_event(event))
    about = one_line(", ".join(f"{key}={value}" for key, value in sorted(event["attributes"].items())))
    return f"{timestamp(event['time_ns'])} {event['type']} {event['action']} {event['id']} ({about})"


def _docker_event(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": event["type"],
        "Action": event["action"],
        "Actor": {"ID": event["id"], "Attributes": event["attributes"]},
        "status": event["action"],
        "id": event["id"],
        "from": event["attributes"]["image"],
        "time": event["time_ns"] // 10**9,
        "timeNano": event["time_ns"],
    }
