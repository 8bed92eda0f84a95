"""Changes of an image's configuration, written as in a Dockerfile: `--change 'CMD ["sh"]'`."""

import json
import shlex
from typing import Any

from runtime.image.errors import ImageError

_SHELL = ["/bin/sh", "-c"]
_WORDS = {"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}
_COMMANDS = {"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}
_SETS = {"EXPOSE": "ExposedPorts", "VOLUME": "Volumes"}


def apply(config: dict[str, Any], instruction: str) -> None:
    """Change `config` (what runs, of an image's configuration). Raises ImageError."""
    word, _, rest = instruction.strip().partition(" ")
    word, rest = word.upper(), rest.strip()
    if not rest:
        raise ImageError(f"change {instruction!r}: it says nothing")
    if word in _COMMANDS:
        config[_COMMANDS[word]] = _list(rest) or [*_SHELL, rest]
    elif word in _WORDS:
        config[_WORDS[word]] = rest
    elif word in _SETS:
        names = _list(rest) or rest.split()
        names = [name if word == "VOLUME" or "/" in name else f"{name}/tcp" for name in names]
        config[_SETS[word]] = {**(config.get(_SETS[word]) or {}), **{name: {} for name in names}}
    elif word == "LABEL":
        config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(instruction, rest))}
    elif word == "ENV":
        settings = [f"{key}={value}" for key, value in _pairs(instruction, rest)]
        config["Env"] = merge_env(config.get("Env") or [], settings)
    elif word == "ONBUILD":
        config["OnBuild"] = [*(config.get("OnBuild") or []), rest]
    else:
        raise ImageError(f"change {instruction!r}: {word} isn't one of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, "
                         "ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR")  # fmt: skip


def merge_env(old: list[str], new: list[str]) -> list[str]:
    """`old` with the settings of `new` in place of those of the same names, or behind."""
    merged = {setting.partition("=")[0]: setting for setting in old}
    merged.update((setting.partition("=")[0], setting) for setting in new)
    return list(merged.values())


def _list(text: str) -> list[str]:
    """The strings of a JSON array, or nothing if it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else []


def _pairs(instruction: str, text: str) -> list[tuple[str, str]]:
    first, _, rest = text.partition(" ")
    if "=" not in first:
        return [(first, rest.strip())]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ImageError(f"change {instruction!r}: {error}") from None
    pairs = [word.partition("=") for word in words]
    if not all(key and equals for key, equals, _ in pairs):
        raise ImageError(f"change {instruction!r}: it isn't a list of KEY=VALUE")
    return [(key, value) for key, _, value in pairs]
