"""The grammar of `-o`: items between commas, layers between colons, escapes, quotes.

It reads what containers/storage, mount(8) and people write. A backslash takes the meaning from a comma, colon, double
quote or backslash after it, and is itself before anything else, since callers don't all escape the backslashes of
paths. A value may be in double quotes as mount(8) has them: `context="a:b:c1,c2"`. Items that are empty don't count.
"""

import re

_ITEM = re.compile(rb'(?:[^=,\\"]+=)"[^"]*"(?=,|\Z)|(?:\\.|[^,])+', re.DOTALL)
_LAYER = re.compile(rb"(?:\\.|[^:\\]|\\\Z)*", re.DOTALL)
_ESCAPE = re.compile(rb'\\([\\:,"])')


def items(text: bytes) -> list[tuple[bytes, bytes | None]]:
    """Names and values of a list of options; the value is None of an item without one, and has its escapes still."""
    found: list[tuple[bytes, bytes | None]] = []
    for item in _ITEM.findall(text):
        name, equals, value = item.partition(b"=")
        found.append((name, _unquoted(value) if equals else None))
    return found


def layers(value: bytes) -> list[bytes]:
    """The parts of `value` between colons, their escapes resolved; empty ones too."""
    return [unescaped(part) for part in _split_layers(value)]


def unescaped(value: bytes) -> bytes:
    """`value` as it was meant."""
    return _ESCAPE.sub(rb"\1", value)


def _split_layers(value: bytes) -> list[bytes]:
    parts, start = [], 0
    while True:
        match = _LAYER.match(value, start)
        assert match is not None  # an empty part matches
        parts.append(match[0])
        if match.end() == len(value):
            return parts
        start = match.end() + 1


def _unquoted(value: bytes) -> bytes:
    quoted = len(value) > 1 and value.startswith(b'"') and value.endswith(b'"')
    return value[1:-1] if quoted else value
