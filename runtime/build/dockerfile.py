"""The Dockerfile's text, taken apart: directives, logical lines, flags, JSON arrays and here-documents.

Own parser: the library there is (dockerfile-parse, last released in 2023) knows neither here-documents nor flags nor
`# escape=`, and rewrites files rather than reading them; what it would save is a hundred of these lines.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from runtime.build import words
from runtime.build.errors import BuildError

FLAGS: dict[str, tuple[str, ...]] = {
    "ADD": ("chmod", "chown", "exclude", "link"),
    "ARG": (),
    "CMD": (),
    "COPY": ("chmod", "chown", "exclude", "from", "link", "parents"),
    "ENTRYPOINT": (),
    "ENV": (),
    "EXPOSE": (),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "retries", "start-interval", "start-period", "timeout"),
    "LABEL": (),
    "MAINTAINER": (),
    "ONBUILD": (),
    "RUN": ("mount", "network"),
    "SHELL": (),
    "STOPSIGNAL": (),
    "USER": (),
    "VOLUME": (),
    "WORKDIR": (),
}
"""Every instruction, and the flags that it can have."""

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("check", "escape", "syntax")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)")
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")
_FORBIDDEN_TRIGGERS = ("FROM", "MAINTAINER", "ONBUILD")
_MOST_BYTES = 4 << 20


class Heredoc(NamedTuple):
    """A file or script written between two lines of the Dockerfile."""

    word: str
    """As it stands in the instruction: <<-"EOF"."""
    name: str
    content: str
    expands: bool
    """Whether variables in it are expanded: its name wasn't quoted."""


class Flag(NamedTuple):
    """`--name=value`; the value of a switch is empty."""

    name: str
    value: str


class Instruction(NamedTuple):
    """One instruction."""

    line: int
    """Where it begins, from 1."""
    keyword: str
    flags: list[Flag]
    text: str
    """What follows the flags: continued lines are joined."""
    heredocs: list[Heredoc]
    escape: str

    def words(self) -> list[str]:
        """The words of a JSON array, or those between spaces; quotes are kept."""
        listed = self.json()
        return words.split(self.text, self.escape) if listed is None else listed

    def json(self) -> list[str] | None:
        """The strings of a JSON array, if it is one."""
        if not self.text.startswith("["):
            return None
        try:
            value = json.loads(self.text)
        except ValueError:
            return None
        return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else None

    def flag(self, name: str) -> str:
        """The value of a flag that is given once at most, or nothing. Raises BuildError."""
        values = self.many(name)
        if len(values) > 1:
            raise BuildError(f"flag --{name} is given twice")
        return values[0] if values else ""

    def on(self, name: str) -> bool:
        """Whether a switch is given and not `false`. Raises BuildError."""
        value = self.flag(name).lower() if self.many(name) else "false"
        if value not in ("", "true", "false"):
            raise BuildError(f"--{name}={value}: it is either true or false")
        return value != "false"

    def many(self, name: str) -> list[str]:
        return [flag.value for flag in self.flags if flag.name == name]

    @property
    def shown(self) -> str:
        """The instruction on one line."""
        flags = [f"--{flag.name}={flag.value}" if flag.value else f"--{flag.name}" for flag in self.flags]
        return " ".join([self.keyword, *flags, self.text])


def parse(data: bytes, name: str) -> list[Instruction]:
    """The instructions of a Dockerfile that is called `name`. Raises BuildError, which names the line."""
    if len(data) > _MOST_BYTES:
        raise BuildError(f"{name}: it has more than {_MOST_BYTES} bytes")
    text = data.decode("utf-8-sig", "surrogateescape")
    lines = _Lines(text.split("\n"), name)
    found = list(lines.instructions())
    if not found:
        raise BuildError(f"{name}: there is no instruction in it")
    return found


def parse_line(text: str, escape: str = "\\") -> Instruction:
    """One instruction on one line. Raises BuildError."""
    if not text.strip():
        raise BuildError("it says nothing")
    return _instruction(text.strip(), 0, escape)


def parse_trigger(text: str, escape: str = "\\") -> Instruction:
    """The instruction that an ONBUILD holds. Raises BuildError."""
    instruction = parse_line(text, escape)
    if instruction.keyword in _FORBIDDEN_TRIGGERS:
        raise BuildError(f"{instruction.keyword} can't be what ONBUILD triggers")
    return instruction


class _Lines:
    def __init__(self, lines: list[str], name: str) -> None:
        self._lines = [line.removesuffix("\r") for line in lines]
        self._name = name
        self._at = 0
        self._escape = self._read_directives()

    def instructions(self) -> Iterator[Instruction]:
        while (found := self._logical_line()) is not None:
            number, text = found
            try:
                yield self._with_heredocs(_instruction(text, number, self._escape))
            except BuildError as error:
                raise BuildError(f"{self._name}:{number}: {error}") from None

    def _read_directives(self) -> str:
        """Only at the very beginning: the first line that is none ends them."""
        seen: dict[str, str] = {}
        for number, line in enumerate(self._lines, 1):
            found = _DIRECTIVE.fullmatch(line.strip())
            key = found[1].lower() if found else ""
            if found is None or key not in _DIRECTIVES:
                break
            if key in seen:
                raise BuildError(f"{self._name}:{number}: only one {key} directive is allowed")
            seen[key] = found[2]
            if key == "escape" and found[2] not in ("\\", "`"):
                raise BuildError(f"{self._name}:{number}: escape={found[2]}: it is either \\ or `")
        return seen.get("escape", "\\")

    def _logical_line(self) -> tuple[int, str] | None:
        """The next instruction's text and the number of its first line; None at the end."""
        text, number = "", 0
        continuation = re.compile(re.escape(self._escape) + r"[ \t]*$")
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue  # between continued lines, too
            number = number or self._at
            cut = continuation.search(line)
            text += line[: cut.start()] if cut else line
            if cut is None:
                break
        return (number, text.strip()) if number else None

    def _with_heredocs(self, instruction: Instruction) -> Instruction:
        if instruction.keyword not in _WITH_HEREDOCS or instruction.json() is not None:
            return instruction
        found = []
        for word in words.split(instruction.text, self._escape):
            match = _HEREDOC.fullmatch(word)
            if match is not None and (name := words.expand(match[3], {}, self._escape)):
                expands = not set(match[3]) & {"'", '"', self._escape}
                found.append(Heredoc(word, name, self._content(name, match[2] == "-"), expands))
        return instruction._replace(heredocs=found)

    def _content(self, name: str, without_tabs: bool) -> str:
        content = ""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            line = line.lstrip("\t") if without_tabs else line
            if line == name:
                return content
            content += f"{line}\n"
        raise BuildError(f"the here-document has no end: a line {name} is missing")


def _instruction(text: str, number: int, escape: str) -> Instruction:
    keyword, rest = _first(text)
    keyword = keyword.upper()
    if keyword not in FLAGS:
        raise BuildError(f"unknown instruction: {keyword}")
    flags = []
    while rest.startswith("--"):
        word = words.split(rest, escape)[0]
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        name, _, value = word[2:].partition("=")
        if name not in FLAGS[keyword]:
            raise BuildError(f"{keyword}: unknown flag: --{name}")
        flags.append(Flag(name, value))
    if not rest and keyword not in ("CMD", "ENTRYPOINT"):
        raise BuildError(f"{keyword} requires at least one argument")
    return Instruction(number, keyword, flags, rest, [], escape)


def _first(text: str) -> tuple[str, str]:
    parts = text.split(None, 1)
    return parts[0], parts[1] if len(parts) > 1 else ""
