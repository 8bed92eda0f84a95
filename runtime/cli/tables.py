"""How lists and times are shown."""

import datetime
import re
import time
from collections.abc import Mapping, Sequence

from runtime.cli.options import Option
from runtime.errors import one_line

FORMAT = Option("format", "table, json, a template, or table with a template", "", "FORMAT")
"""What print_rows() takes."""
FORMAT_DESCRIBED = Option("format", "json (on one line) or a template", "f", "FORMAT")
"""What print_described() takes."""
QUIET = Option("quiet", "ids only", "q")
_HOUR_S, _DAY_S = 3600, 86400
_SPANS = (
    (60, 1, "second"),
    (_HOUR_S, 60, "minute"),
    (2 * _DAY_S, _HOUR_S, "hour"),
    (14 * _DAY_S, _DAY_S, "day"),
    (60 * _DAY_S, 7 * _DAY_S, "week"),
    (730 * _DAY_S, 30 * _DAY_S, "month"),
    (float("inf"), 365 * _DAY_S, "year"),
)
"""As Docker counts: (seconds below which it is so, seconds of one, its name)."""


def print_rows(
    rows: Sequence[Mapping[str, object]], columns: Sequence[tuple[str, str]], form: str = "", fields: Sequence[str] = ()
) -> None:
    """Rows as `--format` says: a table of `columns` (head, field), of those a template names, `json`, or a template.

    `fields` are those that rows have besides, so that a mistake in a template is found without rows, too.
    Raises UsageError: the template isn't one, or names what rows haven't.
    """
    if form in ("", "table"):
        print_table([tuple(head for head, _ in columns), *(tuple(str(row[key]) for _, key in columns) for row in rows)])
    elif form in ("json", "{{json .}}"):
        _print_formatted(rows, {}, "{{json .}}")
    else:
        _print_formatted(rows, {key: _head(key) for key in fields} | {key: head for head, key in columns}, form)


def print_described(found: Sequence[Mapping[str, object]], form: str) -> None:
    """Descriptions as `inspect` shows them: indented JSON, `json` on one line, or a template for each.

    Raises UsageError: the template isn't one, or names what they haven't.
    """
    if form in ("", "json"):
        from runtime.cli.template_functions import as_json

        print(as_json(found, indent=None if form else 4))
        return
    from runtime.cli.template import Template

    template = Template(form)
    print("".join(f"{template.render(one)}\n" for one in found), end="")


def print_one(about: Mapping[str, object], form: str) -> None:
    """The same for what there is one of: `json` isn't a list then. Precondition: there is a format."""
    print_described([about], "{{json .}}" if form == "json" else form)


def _print_formatted(rows: Sequence[Mapping[str, object]], heads: Mapping[str, str], form: str) -> None:
    from runtime.cli.template import Template

    words = form.removeprefix("table ")
    template = Template(words)
    lines = [template.render(row) for row in (heads, *rows)]
    if words == form:
        print("".join(f"{line}\n" for line in lines[1:]), end="")
        return
    cells = [line.split("\t") for line in lines]
    width = max(map(len, cells))
    print_table([tuple(row + [""] * (width - len(row))) for row in cells])


def _head(field: str) -> str:
    """CreatedAt: CREATED AT."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field).upper()


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Rows in columns, the first being the head."""
    clean = [tuple(map(one_line, row)) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    for row in clean:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def shortened(text: str, width: int) -> str:
    """`text` in `width` characters, the last of which tells that more would follow."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def span_text(moment_s: float) -> str:
    """How much time has gone by since a moment of this machine's clock."""
    seconds = max(0, int(time.time() - moment_s))
    size, name = next((size, name) for limit, size, name in _SPANS if seconds < limit)
    count = seconds // size
    return f"{count} {name}{'' if count == 1 else 's'}"


def ago(moment: object) -> str:
    """How long ago a time of an image was; N/A if it has none."""
    try:
        return f"{span_text(datetime.datetime.fromisoformat(str(moment)).timestamp())} ago"
    except ValueError:
        return "N/A"
