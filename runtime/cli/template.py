"""The part of Go's templates that Docker's users write after `--format`.

Actions: a pipeline (`{{.Config.Env | json}}`), `range`, `if`, `with`, each with `else` and `end`, `$name := …`,
comments, `{{- -}}` to trim. Operands: fields, variables (`$` is the whole), strings, numbers, true, false, nil,
parentheses. `\\t` and `\\n` outside of actions are what they look like. A field that isn't there is an error; `index`
of what isn't there is empty, as in a map of Go's.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from runtime.cli.template_action import Action, Print, Scope, Value
from runtime.cli.template_functions import as_text, is_true
from runtime.errors import UsageError

_ACTION = re.compile(r"""\{\{(-\s)?((?:"(?:\\.|[^"\\])*"|`[^`]*`|/\*.*?\*/|[^"`])*?)(\s-)?\}\}""", re.DOTALL)
_BLOCKS = ("range", "if", "with")


class Template:
    """A template, understood."""

    def __init__(self, text: str) -> None:
        """Raises UsageError: it isn't one."""
        try:
            self._print = _Reader("{{json .}}" if text == "json" else text).whole()
        except RecursionError:
            raise UsageError("--format: it is nested too deeply") from None

    def render(self, value: Any) -> str:
        """The text for a value of JSON's types. Raises UsageError: it has no such field."""
        return "".join(self._print(Scope(value, {"$": value})))


class _Reader:
    """Text and actions, one after the other, made into what prints them."""

    def __init__(self, text: str) -> None:
        self._pieces = list(_pieces(text))

    def whole(self) -> Print:
        printer, ending = self._block(())
        assert not ending
        return printer

    def _block(self, endings: Sequence[str]) -> tuple[Print, "Action | None"]:
        """What stands before one of `endings`, and that."""
        parts: list[Print] = []
        while self._pieces:
            piece = self._pieces.pop(0)
            if isinstance(piece, str):
                parts.append(_literal(piece))
            elif piece.keyword in ("else", "end"):
                if piece.keyword not in endings:
                    raise piece.error(f"{piece.keyword} of nothing")
                return _sequence(parts), piece
            elif piece.keyword in _BLOCKS:
                parts.append(self._branches(piece))
            else:
                parts.append(piece.output())
        if endings:
            raise UsageError("--format: an {{end}} is missing")
        return _sequence(parts), None

    def _branches(self, action: "Action") -> Print:
        """`range`, `if` or `with`, up to its `end`."""
        kind = action.word()
        names, value = action.declaration() if kind == "range" else ([], action.pipeline())
        action.finish()
        body, ending = self._block(("else", "end"))
        otherwise: Print = _sequence([])
        if ending is not None and ending.word() == "else":
            if ending.keyword == "if":
                otherwise = self._branches(ending)
            else:
                ending.finish()
                otherwise, _ = self._block(("end",))
        if kind == "range":
            return _range(names, value, body, otherwise)
        return _condition(value, body, otherwise, moves=kind == "with")


def _pieces(text: str) -> Iterator[str | Action]:
    """Literal text and actions; comments are gone."""
    position, trim = 0, False
    for match in _ACTION.finditer(text):
        literal = text[position : match.start()]
        literal = literal.lstrip() if trim else literal
        yield _text(literal.rstrip() if match[1] else literal)
        if not re.fullmatch(r"\s*/\*.*\*/\s*", match[2], re.DOTALL):
            yield Action(match[2])
        position, trim = match.end(), bool(match[3])
    rest = text[position:]
    yield _text(rest.lstrip() if trim else rest)


def _text(literal: str) -> str:
    if "{{" in literal:
        raise UsageError("--format: a {{ isn't closed")
    return literal.replace("\\t", "\t").replace("\\n", "\n")


def _literal(text: str) -> Print:
    return lambda scope: iter((text,))


def _sequence(parts: Sequence[Print]) -> Print:
    def run(scope: Scope) -> Iterator[str]:
        inner = Scope(scope.dot, dict(scope.variables))
        for part in parts:
            yield from part(inner)

    return run


def _condition(value: Value, body: Print, otherwise: Print, *, moves: bool) -> Print:
    """`if`, or `with`, which moves `.` to the value."""

    def run(scope: Scope) -> Iterator[str]:
        found = value(scope)
        if not is_true(found):
            return otherwise(scope)
        return body(Scope(found, scope.variables) if moves else scope)

    return run


def _range(names: Sequence[str], value: Value, body: Print, otherwise: Print) -> Print:
    """Lists in their order, maps by key."""

    def run(scope: Scope) -> Iterator[str]:
        found = value(scope) or ()
        if not isinstance(found, (dict, list, tuple)):
            raise UsageError(f"--format: range over {as_text(found)}, which is no list")
        pairs = sorted(found.items()) if isinstance(found, dict) else list(enumerate(found))
        for key, item in pairs:
            named = dict(zip(reversed(names), (item, key), strict=False))
            yield from body(Scope(item, {**scope.variables, **named}))
        if not pairs:
            yield from otherwise(scope)

    return run
