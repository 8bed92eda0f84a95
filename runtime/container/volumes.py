"""The values of `-v` and `--tmpfs`, read and checked before anything is made."""

import os

from runtime.container.config import Tmpfs, Volume
from runtime.errors import UsageError

_IGNORED = ("rw", "rprivate", "private", "z", "Z", "")  # what a volume is in any case; z, Z: labels of SELinux
_TMPFS_FLAGS = {"ro": ("ro", True), "rw": ("ro", False)} | {
    name: (no_name, name == no_name)
    for no_name in ("nosuid", "nodev", "noexec")
    for name in (no_name, no_name[2:])
}
_TMPFS_OPTIONS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")


def parse_volume(text: str) -> Volume:
    """SRC:DST[:ro]. Raises UsageError, which names the culprit."""
    source, target, *more = text.split(":") if text.count(":") else (text, "")
    if len(more) > 1 or not source or not target:
        raise UsageError(f"invalid volume {text!r}: it is SRC:DST or SRC:DST:ro")
    if not source.startswith("/"):
        raise UsageError(f"invalid volume {text!r}: named volumes are not supported, {source!r} must be absolute")
    flags = more[0].split(",") if more else []
    for flag in flags:
        if flag != "ro" and flag not in _IGNORED:
            raise UsageError(f"invalid volume {text!r}: unknown option {flag!r}")
    if not os.path.exists(source):
        raise UsageError(f"invalid volume {text!r}: {source} does not exist")
    return Volume(source, _target(target, text), "ro" in flags)


def parse_tmpfs(text: str) -> Tmpfs:
    """DST[:OPTIONS]. Raises UsageError, which names the culprit."""
    target, _, rest = text.partition(":")
    options = {"mode": "1777"}
    flags = {"nosuid": True, "nodev": True, "noexec": True}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if key in _TMPFS_FLAGS and not equals:
            flag, on = _TMPFS_FLAGS[key]
            flags[flag] = on
        elif key in _TMPFS_OPTIONS and value:
            options[key] = value
        else:
            raise UsageError(f"invalid tmpfs {text!r}: unknown option {item!r}")
    return Tmpfs(_target(target, text), options, [flag for flag, on in flags.items() if on])


def parse_layers(text: str) -> list[str]:
    """DIR[:DIR...]; a colon or backslash of a name is written with a backslash before it."""
    layers = [""]
    characters = iter(text)
    for character in characters:
        if character == "\\":
            layers[-1] += next(characters, "\\")
        elif character == ":":
            layers.append("")
        else:
            layers[-1] += character
    if not all(layers):
        raise UsageError(f"--rootfs {text!r}: one of its directories has no name")
    return [os.path.abspath(layer) for layer in layers]


def _target(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"invalid mount {text!r}: the path inside the container must be absolute")
    normal = os.path.normpath(path)
    if normal.strip("/") == "":
        raise UsageError(f"invalid mount {text!r}: the path inside the container can't be '/'")
    return normal
