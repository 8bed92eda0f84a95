"""What a .dockerignore leaves out of the context: of the patterns that match a path, or what it is in, the last counts.

https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from runtime.build.patterns import path_regex


class _Rule(NamedTuple):
    regex: re.Pattern[bytes]
    excludes: bool


class Ignore:
    """Patterns, in order; a leading `!` takes back what those before left out."""

    def __init__(self, patterns: Iterable[bytes] = ()) -> None:
        """Raises BuildError."""
        self._rules = [_Rule(path_regex(path), not back) for back, path in map(_normal, patterns) if path]
        self._takes_back = any(not rule.excludes for rule in self._rules)

    def excludes(self, path: bytes) -> bool:
        """Whether `path`, relative to the context's root, is left out."""
        if not self._rules or not path:
            return False
        parts = path.split(b"/")
        above = [b"/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        excluded = False
        for rule in self._rules:
            if rule.excludes != excluded and any(rule.regex.fullmatch(one) for one in above):
                excluded = rule.excludes
        return excluded

    def prunes(self, directory: bytes) -> bool:
        """Whether nothing below a directory can be in: it is left out, and nothing is ever taken back."""
        return not self._takes_back and self.excludes(directory)


def read_ignore(data: bytes) -> Ignore:
    """What the file says. Raises BuildError."""
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()
    return Ignore(line for line in lines if not line.startswith(b"#"))


def _normal(line: bytes) -> tuple[bool, bytes]:
    """Whether it takes back, and the pattern, cleaned as Go's filepath.Clean does and relative to the root."""
    line = line.strip()
    back = line.startswith(b"!")
    path = line[back:].strip()
    path = os.path.normpath(path).lstrip(b"/") if path else path
    return back, b"" if path == b"." else path
