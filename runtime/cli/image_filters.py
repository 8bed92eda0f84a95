"""`--filter` of `images` and `prune`, as Docker has it: each filter must match; of several references, one."""

import datetime
import re
from collections.abc import Callable, Sequence
from functools import partial

from runtime.cli.filters import has_label, read_filters
from runtime.cli.moments import parse_moment
from runtime.errors import UsageError
from runtime.image.reference import Reference
from runtime.image.store import Image, ImageStore

_WILD = {"*": "[^/]*", "?": "[^/]"}
_TRUE, _FALSE = ("true", "1"), ("false", "0")

Test = Callable[[Image, Reference | None], bool]
"""Of an image by one of its names."""


def read_image_filters(texts: Sequence[str], store: ImageStore, known: Sequence[str]) -> Test:
    """What `KEY=VALUE`s ask for. Raises UsageError; Missing: an image that is compared with isn't here."""
    tests: list[Test] = []
    patterns: list[re.Pattern[str]] = []
    for key, value in read_filters(texts, known):
        if key == "reference":
            patterns.append(_pattern(value))
        else:
            tests.append(_test(key, value, store))
    if patterns:
        tests.append(partial(_is_called, patterns))
    return lambda image, name: all(test(image, name) for test in tests)


def created_s(image: Image) -> float:
    """When an image was made, in seconds since 1970; 0 if it doesn't say."""
    try:
        return datetime.datetime.fromisoformat(image.config().created).timestamp()
    except ValueError:
        return 0


def _test(key: str, value: str, store: ImageStore) -> Test:
    if key == "dangling":
        wanted = _boolean(value)
        return lambda image, name: (name is None) == wanted
    if key in ("label", "label!"):
        return lambda image, name: has_label(image.config().config.get("Labels") or {}, value) == (key == "label")
    moment = parse_moment("filter until", value) / 1e9 if key == "until" else created_s(store.resolve(value))
    if key == "since":
        return lambda image, name: created_s(image) > moment
    return lambda image, name: created_s(image) < moment


def _is_called(patterns: Sequence[re.Pattern[str]], image: Image, name: Reference | None) -> bool:
    if name is None:
        return False
    forms = (name.familiar_name, name.familiar, name.name, str(name))
    return any(pattern.fullmatch(form) for pattern in patterns for form in forms)


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob whose stars don't go beyond a slash. Raises UsageError."""
    words = re.split(r"(\*|\?|\[[^]]+\])", glob)
    try:
        return re.compile("".join(_WILD.get(word) or _literal(word) for word in words))
    except re.error:
        raise UsageError(f"invalid filter 'reference={glob}': it is no pattern") from None


def _literal(word: str) -> str:
    return word.replace("[!", "[^") if word.startswith("[") else re.escape(word)


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise UsageError(f"invalid filter 'dangling={text}': it is either true or false")
