"""The part of Go's templates that Docker's users write after `--format`.

Actions: a pipeline (`{{.Config.Env | json}}`), `range`, `if`, `with`, each with `else` and `end`, `$name := …`,
comments, `{{- -}}` to trim. Operands: fields, variables (`$` is the whole), strings, numbers, true, false, nil,
parentheses. `\\t` and `\\n` outside of actions are what they look like. A field that isn't there is an error; `index`
of what isn't there is empty, as in a map of Go's.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from runtime.cli.template_functions import FUNCTIONS, LAZY, as_text, is_true
from runtime.errors import UsageError

_ACTION = re.compile(r"""\{\{(-\s)?((?:"(?:\\.|[^"\\])*"|`[^`]*`|/\*.*?\*/|[^"`])*?)(\s-)?\}\}""", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<space>\s*)(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>[+-]?\d+(?:\.\d+)?)|(?P<variable>\$\w*)
    |(?P<field>\.\w*)|(?P<word>[A-Za-z]\w*)|(?P<sign>:=|[|(),]))""",
    re.VERBOSE,
)
_ESCAPES = {"\\t": "\t", "\\n": "\n", '\\"': '"', "\\\\": "\\"}
_CONSTANTS = {"true": True, "false": False, "nil": None}
_BLOCKS = ("range", "if", "with")


class Scope(NamedTuple):
    """What `.` is just now, and the variables."""

    dot: Any
    variables: dict[str, Any]


Value = Callable[[Scope], Any]
Print = Callable[[Scope], Iterator[str]]


class Template:
    """A template, understood."""

    def __init__(self, text: str) -> None:
        """Raises UsageError: it isn't one."""
        self._print = _Reader("{{json .}}" if text == "json" else text).whole()

    def render(self, value: Any) -> str:
        """The text for a value of JSON's types. Raises UsageError: it has no such field."""
        return "".join(self._print(Scope(value, {"$": value})))


class _Token(NamedTuple):
    kind: str
    text: str
    spaced: bool
    """Whether there is space before it."""


class _Reader:
    """Text and actions, one after the other, made into what prints them."""

    def __init__(self, text: str) -> None:
        self._pieces = list(_pieces(text))

    def whole(self) -> Print:
        printer, ending = self._block(())
        assert not ending
        return printer

    def _block(self, endings: Sequence[str]) -> tuple[Print, "_Action | None"]:
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

    def _branches(self, action: "_Action") -> Print:
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


class _Action:
    """What stands between braces, read word by word."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())

    @property
    def keyword(self) -> str:
        return self._tokens[0].text if self._tokens and self._tokens[0].kind == "word" else ""

    def error(self, message: str) -> UsageError:
        return UsageError(f"--format: {{{{{self._text.strip()}}}}}: {message}")

    def word(self) -> str:
        return self._tokens.pop(0).text

    def finish(self) -> None:
        """Raises UsageError: something is left."""
        if self._tokens:
            raise self.error(f"unexpected {self._tokens[0].text}")

    def output(self) -> Print:
        """A pipeline that is printed, or that a variable is made of."""
        names, value = self.declaration()
        self.finish()

        def run(scope: Scope) -> Iterator[str]:
            result = value(scope)
            if names:
                scope.variables[names[-1]] = result
            else:
                yield as_text(result)

        return run

    def declaration(self) -> tuple[list[str], Value]:
        """The variables before `:=`, and the pipeline."""
        names = []
        if any(token.text == ":=" for token in self._tokens):
            while (token := self._tokens.pop(0)).text != ":=":
                if token.kind == "variable":
                    names.append(token.text)
                elif token.text != ",":
                    raise self.error(f"{token.text} is no variable")
        return names, self.pipeline()

    def pipeline(self) -> Value:
        value = self._command(None)
        while self._is_next("|"):
            value = self._command(value)
        return value

    def _command(self, piped: Value | None) -> Value:
        """A function with its arguments, the last being what was piped in; or one operand."""
        if self.keyword and self.keyword not in _CONSTANTS:
            return self._call(piped)
        value = self._operand()
        if piped is not None:
            raise self.error("only functions can be piped to")
        return value

    def _call(self, piped: Value | None) -> Value:
        name = self.word()
        if name not in FUNCTIONS and name not in LAZY:
            raise self.error(f"unknown function {name}: {', '.join(sorted((*FUNCTIONS, *LAZY)))} are there")
        arguments: list[Value] = []
        while self._tokens and self._tokens[0].text not in ("|", ")"):
            arguments.append(self._operand())
        if piped is not None:
            arguments.append(piped)

        def run(scope: Scope) -> Any:
            values = (argument(scope) for argument in arguments)
            try:
                return LAZY[name](values) if name in LAZY else FUNCTIONS[name](*values)
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                raise self.error(f"{name}: {error}") from None

        return run

    def _operand(self) -> Value:
        if not self._tokens:
            raise self.error("a value is missing")
        kind, text, _ = self._tokens.pop(0)
        if kind == "field":
            value = _dot if text == "." else self._field(_dot, text)
        elif kind == "variable":
            value = self._variable(text)
        elif kind == "string":
            value = _constant(_unescape(text[1:-1]) if text[0] == '"' else text[1:-1])
        elif kind == "number":
            value = _constant(float(text) if "." in text else int(text))
        elif text in _CONSTANTS:
            value = _constant(_CONSTANTS[text])
        elif kind == "word":
            self._tokens.insert(0, _Token(kind, text, True))
            return self._call(None)
        elif text == "(":
            value = self.pipeline()
            if not self._is_next(")"):
                raise self.error("a ) is missing")
        else:
            raise self.error(f"unexpected {text}")
        while self._tokens and self._tokens[0].kind == "field" and not self._tokens[0].spaced:
            value = self._field(value, self._tokens.pop(0).text)
        return value

    def _field(self, of: Value, name: str) -> Value:
        def run(scope: Scope) -> Any:
            value = of(scope)
            if not isinstance(value, dict) or name[1:] not in value:
                raise self.error(f"there is no field {name[1:]}")
            return value[name[1:]]

        return run

    def _variable(self, name: str) -> Value:
        def run(scope: Scope) -> Any:
            if name not in scope.variables:
                raise self.error(f"unknown variable {name}")
            return scope.variables[name]

        return run

    def _is_next(self, sign: str) -> bool:
        """Whether `sign` is the next token, which is taken then."""
        if self._tokens and self._tokens[0].text == sign:
            self._tokens.pop(0)
            return True
        return False

    def _split(self) -> Iterator[_Token]:
        text = self._text.strip()
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self.error(f"unexpected {text[position:].strip()[:1]}")
            yield _Token(match.lastgroup, match[match.lastgroup], bool(match["space"]))
            position = match.end()


def _pieces(text: str) -> Iterator[str | _Action]:
    """Literal text and actions; comments are gone."""
    position, trim = 0, False
    for match in _ACTION.finditer(text):
        literal = text[position : match.start()]
        literal = literal.lstrip() if trim else literal
        yield _text(literal.rstrip() if match[1] else literal)
        if not re.fullmatch(r"\s*/\*.*\*/\s*", match[2], re.DOTALL):
            yield _Action(match[2])
        position, trim = match.end(), bool(match[3])
    rest = text[position:]
    yield _text(rest.lstrip() if trim else rest)


def _text(literal: str) -> str:
    if "{{" in literal:
        raise UsageError("--format: a {{ isn't closed")
    return literal.replace("\\t", "\t").replace("\\n", "\n")


def _unescape(text: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES.get(match[0], match[0]), text)


def _dot(scope: Scope) -> Any:
    return scope.dot


def _constant(value: Any) -> Value:
    return lambda scope: value


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
