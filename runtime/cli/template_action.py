"""One action of a template, `{{ … }}`, read word by word and made into a function of what it is applied to."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from runtime.cli.template_functions import FUNCTIONS, LAZY, as_text, for_screen
from runtime.errors import UsageError

_TOKEN = re.compile(
    r"""(?P<space>\s*)(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>[+-]?\d+(?:\.\d+)?)|(?P<variable>\$\w*)
    |(?P<field>\.\w*)|(?P<word>[A-Za-z]\w*)|(?P<sign>:=|[|(),]))""",
    re.VERBOSE,
)
_ESCAPES = {"\\t": "\t", "\\n": "\n", '\\"': '"', "\\\\": "\\"}
_CONSTANTS = {"true": True, "false": False, "nil": None}


class Scope(NamedTuple):
    """What `.` is just now, and the variables."""

    dot: Any
    variables: dict[str, Any]


Value = Callable[[Scope], Any]
Print = Callable[[Scope], Iterator[str]]


class _Token(NamedTuple):
    kind: str
    text: str
    spaced: bool
    """Whether there is space before it."""


class Action:
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
                yield for_screen(as_text(result))

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
            except (TypeError, ValueError, AttributeError, OverflowError) as error:
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


def _unescape(text: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES.get(match[0], match[0]), text)


def _dot(scope: Scope) -> Any:
    return scope.dot


def _constant(value: Any) -> Value:
    return lambda scope: value
