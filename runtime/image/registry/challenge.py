"""WWW-Authenticate, as a registry sends it with a 401 (RFC 9110, section 11.6.1), and the scopes of tokens."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_ITEM = re.compile(rf'\s*(?:,\s*)*({_TOKEN})(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?')


class Challenge(NamedTuple):
    """One way in that is offered: a scheme, in lower case, and its parameters, whose names are in lower case."""

    scheme: str
    parameters: dict[str, str]


class Scope(NamedTuple):
    """What a token is to allow: `repository:NAME:pull,push`."""

    kind: str
    name: str
    actions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(sorted(self.actions))}"


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of every header; what can't be read ends the list."""
    found: list[Challenge] = []
    for header in headers:
        position = 0
        while match := _ITEM.match(header, position):
            word, value = match.groups()
            if value is None:
                found.append(Challenge(word.lower(), {}))
            elif found:
                _add(found[-1].parameters, word.lower(), _unquoted(value))
            position = match.end()
    return found


def repository_scope(path: str, *actions: str) -> Scope:
    """The scope that allows `actions` on a repository."""
    return Scope("repository", path, frozenset(actions))


def parse_scopes(text: str) -> list[Scope]:
    """The scopes of a challenge's `scope`; those of an unknown form are left out."""
    parts = [word.rsplit(":", 1) for word in text.split()]
    named = [(*head.partition(":")[::2], tail) for head, tail in (part for part in parts if len(part) == 2)]
    return [Scope(kind, name, frozenset(actions.split(","))) for kind, name, actions in named if kind and name]


def union(*groups: Iterable[Scope]) -> tuple[Scope, ...]:
    """All of them, one for each object, in a stable order."""
    actions: dict[tuple[str, str], frozenset[str]] = {}
    for scope in (scope for group in groups for scope in group):
        key = (scope.kind, scope.name)
        actions[key] = actions.get(key, frozenset()) | scope.actions
    return tuple(Scope(*key, actions[key]) for key in sorted(actions))


def _add(parameters: dict[str, str], name: str, value: str) -> None:
    """`scope` may come several times; of the others the first counts."""
    if name == "scope" and name in parameters:
        parameters[name] += f" {value}"
    else:
        parameters.setdefault(name, value)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
