"""Words of a Dockerfile: quotes, escapes and `${NAME:-default}`, as BuildKit reads them (not quite as a shell does).

Expansion is one pass over a text: what a variable's value has in quotes, escapes or dollars is left alone.
"""

import re
from collections.abc import Iterator, Mapping

from runtime.build.errors import BuildError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]")
_OPERATOR = re.compile(r":[-+?]|[-+?]|##?|%%?|//?")
_SPACE = " \t\n\r\v\f"


def split(text: str, escape: str) -> list[str]:
    """The words of `text`, at spaces that are neither quoted nor escaped; quotes and escapes are kept."""
    words, word, quote = [], "", ""
    characters = iter(text)
    for character in characters:
        if not quote and character in _SPACE:
            words += [word] if word else []
            word = ""
            continue
        word += character
        if character == escape and quote != "'":
            word += next(characters, "")
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return words + ([word] if word else [])


def expand(text: str, variables: Mapping[str, str], escape: str) -> str:
    """`text` without its quotes and escapes, and with the values of variables; of absent ones nothing.

    Raises BuildError: a quote or brace isn't closed, or `${NAME:?why}`.
    """
    return "".join(_Expansion(text, variables, escape).pieces(""))


def expand_document(text: str, variables: Mapping[str, str], escape: str) -> str:
    """`text`, whose quotes are just text, with the values of variables; an escape is one before it and before $."""
    return "".join(_Expansion(text, variables, escape).document())


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._at = 0

    def pieces(self, ending: str) -> Iterator[str]:
        """All up to an unquoted character of `ending`, which is taken too."""
        while self._at < len(self._text):
            character = self._next()
            if character in ending:
                return
            if character == "'":
                yield self._literal()
            elif character == '"':
                yield from self._quoted()
            elif character == "$":
                yield self._variable()
            elif character == self._escape:
                yield self._next()
            else:
                yield character
        if ending:
            raise BuildError(f"{self._text!r}: a '{ending}' is missing")

    def document(self) -> Iterator[str]:
        while self._at < len(self._text):
            character = self._next()
            if character == "$":
                yield self._variable()
            elif character == self._escape and self._text[self._at : self._at + 1] in ("$", self._escape):
                yield self._next()
            else:
                yield character

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def _literal(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise BuildError(f"{self._text!r}: a ' is missing")
        found = self._text[self._at : end]
        self._at = end + 1
        return found

    def _quoted(self) -> Iterator[str]:
        while self._at < len(self._text):
            character = self._next()
            if character == '"':
                return
            if character == "$":
                yield self._variable()
            elif character == self._escape:
                following = self._next()
                yield following if following in ('"', "$", self._escape) else character + following
            else:
                yield character
        raise BuildError(f'{self._text!r}: a " is missing')

    def _variable(self) -> str:
        if self._text.startswith("{", self._at):
            self._at += 1
            return self._braced()
        name = self._match(_NAME)
        return self._variables.get(name, "") if name else "$"

    def _braced(self) -> str:
        name = self._match(_NAME)
        if not name:
            raise BuildError(f"{self._text!r}: a variable without a name")
        value = self._variables.get(name)
        operator = self._match(_OPERATOR)
        if operator in ("/", "//"):
            pattern, new = "".join(self._raw("/")), "".join(self.pieces("}"))
            return _to_regex(pattern).sub(lambda _: new, value or "", count=len(operator) == 1)
        if operator[:1] in ("#", "%") and operator:
            return _trimmed(value or "", operator, "".join(self._raw("}")))
        word = "".join(self.pieces("}"))
        if not operator:
            if word:
                raise BuildError(f"{self._text!r}: unsupported modifier {word!r} of {name}")
            return value or ""
        is_there = bool(value) if operator[0] == ":" else value is not None
        if operator[-1] == "+":
            return word if is_there else ""
        if not is_there and operator[-1] == "?":
            raise BuildError(f"{name}: {word or 'is not set'}")
        return (value or "") if is_there else word

    def _raw(self, ending: str) -> Iterator[str]:
        """A pattern: variables are expanded, escapes are for the pattern itself."""
        while self._at < len(self._text):
            character = self._next()
            if character == ending:
                return
            if character == "$":
                yield re.sub(r"([\\*?])", r"\\\1", self._variable())
            elif character == self._escape:
                yield "\\" + self._next()
            else:
                yield character
        raise BuildError(f"{self._text!r}: a '{ending}' is missing")

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]


def _trimmed(value: str, operator: str, pattern: str) -> str:
    """`value` without its shortest (#, %) or longest (##, %%) beginning or end that `pattern` matches."""
    cuts = range(len(value) + 1)
    regex = _to_regex(pattern)
    if operator[0] == "#":
        found = (cut for cut in (cuts if len(operator) == 1 else reversed(cuts)) if regex.fullmatch(value, 0, cut))
        return value[next(found, 0) :]
    found = (cut for cut in (reversed(cuts) if len(operator) == 1 else cuts) if regex.fullmatch(value, cut))
    return value[: next(found, len(value))]


def _to_regex(pattern: str) -> re.Pattern[str]:
    """`*` is any text, `?` any character, a backslash makes the next one mean itself."""
    parts = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts.append(re.escape(next(characters, "\\")))
        else:
            parts.append({"*": ".*", "?": "."}.get(character, re.escape(character)))
    return re.compile("".join(parts), re.DOTALL)
