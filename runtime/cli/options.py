"""Verbs, and options as Docker's commands take them, from a table.

Short ones cluster (`-it`), values follow or stick (`-e A=b`, `-eA=b`, `--env A=b`, `--env=A=b`), and options end at
the first word that is none, so that the command's own are left alone. Own code because argparse takes options
behind the first word too, and costs as much to import as a container's namespaces do to make.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runtime.errors import Refusal, UsageError
from runtime.places import Places


class Option(NamedTuple):
    """One line of a verb's table. Without `value` (the placeholder of its value in the help) it is a switch."""

    name: str
    help: str
    short: str = ""
    value: str = ""


class Parsed:
    """The options given, and the words after them."""

    def __init__(self, given: dict[str, list[str]], words: list[str]) -> None:
        self._given = given
        self.words = words

    def many(self, name: str) -> list[str]:
        """Every value of a repeatable option, in order."""
        return self._given.get(name, [])

    def one(self, name: str, default: str = "") -> str:
        """The last value given."""
        return self._given.get(name, [default])[-1]

    def on(self, name: str, default: bool = False) -> bool:
        """Whether a switch is on."""
        return self.one(name) == "true" if self.many(name) else default


HELP = Option("help", "show this and exit")
FORCE = Option("force", "don't ask", "f")
"""For confirm()."""
SYNONYMS = {"list": "ls", "remove": "rm"}
"""Of verbs in groups."""
_ALSO = {"dns-opt": "dns-option", "net": "network", "net-alias": "network-alias"}
"""Older names of options, which scripts still have."""
_TRUE = ("true", "1", "t", "T", "TRUE", "True")
_FALSE = ("false", "0", "f", "F", "FALSE", "False")


def parse(arguments: Sequence[str], table: Sequence[Option], anywhere: bool = False) -> Parsed:
    """Read `arguments` by `table`; `anywhere`: options may follow words. Raises UsageError, which names the option."""
    names = {option.name: option for option in (*table, HELP)}
    shorts = {"h": HELP, **{option.short: option for option in table if option.short}}
    given: dict[str, list[str]] = {}
    rest, words = list(arguments), []
    while rest and (anywhere or _is_option(rest[0])):
        word = rest.pop(0)
        if not _is_option(word):
            words.append(word)
            continue
        if word == "--":
            break
        if word.startswith("--"):
            _long(word, names, rest, given)
        else:
            _cluster(word, shorts, rest, given)
    return Parsed(given, words + rest)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _long(word: str, names: dict[str, Option], rest: list[str], given: dict[str, list[str]]) -> None:
    name, equals, value = word[2:].partition("=")
    option = names.get(name) or names.get(_ALSO.get(name, ""))
    if option is None:
        raise UsageError(f"unknown flag: --{name}")
    if not option.value:
        value = _switch(f"--{name}", value) if equals else "true"
    elif not equals:
        value = _next(f"--{name}", rest)
    given.setdefault(option.name, []).append(value)


def _cluster(word: str, shorts: dict[str, Option], rest: list[str], given: dict[str, list[str]]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = shorts.get(letter)
        if option is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")
        if option.value:
            value = letters.removeprefix("=") if letters else _next(f"-{letter}", rest)
            letters = ""
        elif letters.startswith("="):
            value, letters = _switch(f"-{letter}", letters[1:]), ""
        else:
            value = "true"
        given.setdefault(option.name, []).append(value)


def _switch(flag: str, value: str) -> str:
    if value in _TRUE:
        return "true"
    if value in _FALSE:
        return "false"
    raise UsageError(f'invalid argument "{value}" for {flag}: it is either true or false')


def _next(flag: str, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"flag needs an argument: {flag}")
    return rest.pop(0)


def usage(line: str, about: str, table: Sequence[Option]) -> str:
    """The text of --help."""
    shown = [(_flags(option), option.help) for option in sorted((*table, HELP))]
    width = max(len(flags) for flags, _ in shown)
    options = "\n".join(f"  {flags:<{width}}  {text}" for flags, text in shown)
    return f"Usage: {line}\n\n{about}\n\nOptions:\n{options}"


def _flags(option: Option) -> str:
    short = f"-{option.short}," if option.short else "   "
    return f"{short} --{option.name} {option.value}".rstrip()


class Verb(NamedTuple):
    """What `pyunion NAME` does, how it is called, and what its help says; made by verb()."""

    name: str
    words: str
    about: str
    options: tuple[Option, ...]
    least: int
    most: int
    anywhere: bool
    do: Callable[[Parsed, Places], int]

    def __call__(self, arguments: Sequence[str], places: Places) -> int:
        """Do it, or print the help that is asked for; the exit status. Raises Refusal."""
        options = parse(arguments, self.options, self.anywhere)
        if options.on(HELP.name):
            print(usage(self._line(), self.about, self.options))
            return 0
        if not self.least <= len(options.words) <= self.most:
            takes = self.words.replace("\n", " or ") or "none"
            raise UsageError(f"wrong number of arguments: {self.name} takes {takes}")
        return self.do(options, places)

    def _line(self) -> str:
        start = f"pyunion {self.name}{' [OPTIONS]' if self.options else ''}"
        return "\n       ".join(f"{start} {words}".rstrip() for words in self.words.split("\n"))


def confirm(options: Parsed, what: str) -> None:
    """Ask who sits at a terminal before `what`, unless there is --force. Raises Refusal: the answer isn't yes."""
    if options.on("force") or not sys.stdin.isatty():
        return
    print(f"This will {what}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refusal("nothing was done", status=1)


def verb(
    name: str,
    words: str,
    about: str,
    options: tuple[Option, ...] = (),
    *,
    least: int = 0,
    most: int = sys.maxsize,
    anywhere: bool = True,
) -> Callable[[Callable[[Parsed, Places], int]], Verb]:
    """Make a function the verb `name`, which takes from `least` to `most` words: `words` says which, a way a line."""
    return lambda do: Verb(name, words, about, options, least, most, anywhere, do)


class Group(NamedTuple):
    """A verb of verbs, such as `network`."""

    name: str
    about: str
    verbs: tuple[Verb, ...]

    def __call__(self, arguments: Sequence[str], places: Places) -> int:
        """Do one of them, or list them; the exit status. Raises Refusal."""
        verbs = {one.name.removeprefix(f"{self.name} "): one for one in self.verbs}
        word, *rest = arguments or ["--help"]
        word = SYNONYMS.get(word, word)
        if word in verbs:
            return verbs[word](rest, places)
        if word != "--help":
            raise UsageError(f"unknown command: {self.name} {word}")
        lines = "\n".join(f"  {word:<10}  {one.about}" for word, one in verbs.items())
        print(usage(f"pyunion {self.name} COMMAND [ARG...]", f"{self.about}\n\nCommands:\n{lines}", ()))
        return 0
