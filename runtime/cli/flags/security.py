"""The options that say what a container's processes may do beyond the usual, or may not."""

import os
from collections.abc import Callable
from typing import Any

from runtime.cli.options import Parsed
from runtime.container.capabilities import parse_names
from runtime.container.devices import parse_device
from runtime.errors import UsageError

_LABEL_PARTS = ("user", "role", "type", "level")


def read(options: Parsed) -> dict[str, Any]:
    """What a Config keeps of these options. Raises UsageError, which names the option."""
    found: dict[str, Any] = {}
    for option in ("cap-add", "cap-drop"):
        names = [name for text in options.many(option) for name in text.split(",")]
        if names:
            found[option.replace("-", "_")] = parse_names(option, names)
    if options.many("device"):
        found["devices"] = [list(parse_device(text)) for text in options.many("device")]
    for text in options.many("security-opt"):
        _security_option(text, found)
    return found


def _security_option(text: str, found: dict[str, Any]) -> None:
    key, separator, value = text.partition("=" if "=" in text or ":" not in text else ":")
    known = _SECURITY_OPTIONS.get(key)
    if known is None or (separator and not value) or (not value and key != "no-new-privileges"):
        raise UsageError(f'invalid argument "{text}" for --security-opt: there are {", ".join(_SECURITY_OPTIONS)}')
    known(value, found)


def _no_new_privileges(value: str, found: dict[str, Any]) -> None:
    if value not in ("", "true", "false"):
        raise UsageError(f"--security-opt no-new-privileges={value}: it is true or false")
    found["no_new_privileges"] = value != "false"


def _seccomp(value: str, found: dict[str, Any]) -> None:
    """The profile is kept with the container: later changes of the file don't count."""
    if value == "unconfined":
        found["seccomp"] = value
        return
    try:
        with open(value, encoding="utf-8") as file:
            found["seccomp"] = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"--security-opt seccomp={value}: {reason}") from None


def _apparmor(value: str, found: dict[str, Any]) -> None:
    found["apparmor"] = value


def _label(value: str, found: dict[str, Any]) -> None:
    if value == "disable":
        found.pop("label", None)
        return
    part, _, text = value.partition(":")
    if part not in _LABEL_PARTS or not text:
        raise UsageError(f"--security-opt label={value}: it is disable, or user:, role:, type: or level: and a value")
    found.setdefault("label", {})[part] = text


def _system_paths(value: str, found: dict[str, Any]) -> None:
    if value != "unconfined":
        raise UsageError(f"--security-opt systempaths={value}: it is unconfined")
    found["unmask"] = ["ALL"]


def _paths(key: str) -> Callable[[str, dict[str, Any]], None]:
    def add(value: str, found: dict[str, Any]) -> None:
        for path in value.split(":"):
            if path != "ALL" and not path.startswith("/"):
                raise UsageError(f"--security-opt {key}={value}: {path!r} is not an absolute path")
            found.setdefault(key, []).append(path if path == "ALL" else os.path.normpath(path))

    return add


_SECURITY_OPTIONS: dict[str, Callable[[str, dict[str, Any]], None]] = {
    "no-new-privileges": _no_new_privileges,
    "seccomp": _seccomp,
    "apparmor": _apparmor,
    "label": _label,
    "systempaths": _system_paths,
    "mask": _paths("mask"),
    "unmask": _paths("unmask"),
}
