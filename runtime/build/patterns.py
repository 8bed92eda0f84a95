"""Patterns of names as Go's filepath.Match has them, for COPY, and as .dockerignore extends them with `**`."""

import functools
import re

from runtime.build.errors import BuildError

_WILD = re.compile(rb"[*?\[\\]")


def is_pattern(path: bytes) -> bool:
    """Whether it means more than itself."""
    return _WILD.search(path) is not None


@functools.cache
def name_regex(pattern: bytes) -> re.Pattern[bytes]:
    """Of one component of a path. Raises BuildError."""
    return _compile(pattern, across=False)


@functools.cache
def path_regex(pattern: bytes) -> re.Pattern[bytes]:
    """Of a whole path; `**` is any number of components, none included. Raises BuildError."""
    return _compile(pattern, across=True)


def _compile(pattern: bytes, *, across: bool) -> re.Pattern[bytes]:
    parts, at = [], 0
    while at < len(pattern):
        character = pattern[at : at + 1]
        at += 1
        if across and pattern[at - 1 : at + 1] == b"**":
            at += 1
            is_component = pattern[at : at + 1] == b"/"
            at += is_component
            parts.append(b"(?:.*/)?" if is_component else b".*")
        elif character == b"*":
            parts.append(b"[^/]*")
        elif character == b"?":
            parts.append(b"[^/]")
        elif character == b"[":
            piece, at = _class(pattern, at)
            parts.append(piece)
        elif character == b"\\":
            if at == len(pattern):
                raise _bad(pattern)
            parts.append(re.escape(pattern[at : at + 1]))
            at += 1
        else:
            parts.append(re.escape(character))
    return re.compile(b"".join(parts), re.DOTALL)


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """`[a-z]`, `[^a-z]`, from behind its bracket: a regex for it, and where it ends. A slash is never in one."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    ranges: list[bytes] = []
    while pattern[at : at + 1] != b"]" or not ranges:
        low, at = _member(pattern, at)
        high = low
        if pattern[at : at + 1] == b"-":
            high, at = _member(pattern, at + 1)
        ranges.append(re.escape(low) + b"-" + re.escape(high))
        if low > high:
            raise _bad(pattern)
    return (b"(?!/)[" + (b"^" if negated else b"") + b"".join(ranges) + b"]"), at + 1


def _member(pattern: bytes, at: int) -> tuple[bytes, int]:
    if pattern[at : at + 1] == b"\\":
        at += 1
    elif pattern[at : at + 1] in (b"", b"-", b"]"):
        raise _bad(pattern)
    if at >= len(pattern):
        raise _bad(pattern)
    return pattern[at : at + 1], at + 1


def _bad(pattern: bytes) -> BuildError:
    return BuildError(f"invalid pattern {pattern.decode(errors='backslashreplace')!r}")
