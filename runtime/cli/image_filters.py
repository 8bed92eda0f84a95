"""`--filter` of `images` and `prune`, as Docker has it: each filter must match; of several references, one."""

import datetime
import re
import time
from collections.abc import Callable, Sequence
from functools import partial

from runtime.errors import UsageError
from runtime.image.reference import Reference
from runtime.image.store import Image, ImageStore

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_WILD = {"*": "[^/]*", "?": "[^/]"}
_TRUE, _FALSE = ("true", "1"), ("false", "0")

Test = Callable[[Image, Reference | None], bool]
"""Of an image by one of its names."""


def read_filters(texts: Sequence[str], store: ImageStore, known: Sequence[str]) -> Test:
    """What `KEY=VALUE`s ask for. Raises UsageError; Missing: an image that is compared with isn't here."""
    tests: list[Test] = []
    patterns: list[re.Pattern[str]] = []
    for text in texts:
        key, equals, value = text.partition("=")
        key, value = (key[:-1], f"!{value}") if key == "label!" else (key, value)
        if key not in known or not equals:
            raise UsageError(f"invalid filter {text!r}: there are {', '.join(f'{name}=…' for name in known)}")
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
    if key == "label":
        absent = value.startswith("!")
        name_of_label, _, text = value.removeprefix("!").partition("=")
        return lambda image, name: _has_label(image, name_of_label, text) != absent
    moment = _moment(value) if key == "until" else created_s(store.resolve(value))
    if key == "since":
        return lambda image, name: created_s(image) > moment
    return lambda image, name: created_s(image) < moment


def _is_called(patterns: Sequence[re.Pattern[str]], image: Image, name: Reference | None) -> bool:
    if name is None:
        return False
    forms = (name.familiar_name, name.familiar, name.name, str(name))
    return any(pattern.fullmatch(form) for pattern in patterns for form in forms)


def _has_label(image: Image, key: str, value: str) -> bool:
    labels = image.config().config.get("Labels") or {}
    return key in labels and value in ("", labels[key])


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


def _moment(text: str) -> float:
    """A duration back from now (1h30m), a time (2024-01-31T12:00:00), or seconds since 1970. Raises UsageError."""
    if text and not _DURATION.sub("", text):
        return time.time() - sum(float(count) * _UNITS_S[unit] for count, unit in _DURATION.findall(text))
    try:
        return float(text) if text.isdigit() else datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"invalid filter 'until={text}': neither a duration (24h, 1h30m) nor a time") from None
