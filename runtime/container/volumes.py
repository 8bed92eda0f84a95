"""The values of `-v`, `--tmpfs` and `--mount`, read and checked before anything is made."""

import os

from runtime.container.config import Tmpfs, Volume
from runtime.errors import UsageError

_IGNORED = ("rw", "z", "Z", "")  # what a volume is in any case; z, Z: labels of SELinux
_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_TMPFS_FLAGS = {"ro": ("ro", True), "rw": ("ro", False)} | {
    name: (no_name, name == no_name)
    for no_name in ("nosuid", "nodev", "noexec")
    for name in (no_name, no_name[2:])
}
_TMPFS_OPTIONS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")
_MOUNT_KEYS = {
    **{name: name for name in ("type", "readonly", "bind-propagation", "tmpfs-size", "tmpfs-mode", "volume-nocopy")},
    "idmap": "idmap",
    "source": "source", "src": "source", "target": "target", "dst": "target", "destination": "target",
    "ro": "readonly",
}
_SWITCHES = ("readonly", "volume-nocopy", "idmap")


def parse_volume(text: str) -> Volume:
    """SRC:DST[:ro], SRC a path or the name of a volume; DST alone: a volume without a name.

    Raises UsageError, which names the culprit.
    """
    source, target, *more = text.split(":") if text.count(":") else ("", text)
    if len(more) > 1 or not target or (":" in text and not source):
        raise UsageError(f"invalid volume {text!r}: it is SRC:DST or SRC:DST:ro")
    flags = more[0].split(",") if more else []
    propagation = "rprivate"
    for flag in flags:
        if flag in _PROPAGATIONS:
            propagation = flag
        elif flag not in ("ro", "nocopy", "idmap", *_IGNORED):
            raise UsageError(f"invalid volume {text!r}: unknown option {flag!r}")
    copies, mapped = "nocopy" not in flags, "idmap" in flags
    return Volume(
        _source(source, text), _target(target, text), "ro" in flags, propagation, copies=copies, mapped=mapped
    )


def parse_mount(text: str) -> Volume | Tmpfs:
    """KEY=VALUE,… as Docker's --mount has it. Raises UsageError, which names the culprit."""
    given: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if key not in _MOUNT_KEYS or not (equals or _MOUNT_KEYS[key] in _SWITCHES):
            raise UsageError(f"invalid mount {text!r}: unknown or incomplete {item!r}")
        given[_MOUNT_KEYS[key]] = value if equals else "true"
    kind, target = given.get("type", "volume"), _target(given.get("target", ""), text)
    read_only, no_copy, mapped = (given.get(key, "false") in ("true", "1") for key in _SWITCHES)
    if kind == "tmpfs":
        options = {"mode": given.get("tmpfs-mode", "1777")}
        options.update({"size": given["tmpfs-size"]} if "tmpfs-size" in given else {})
        return Tmpfs(target, options, ["nosuid", "nodev", "noexec", *(["ro"] if read_only else [])])
    if kind not in ("bind", "volume", "image"):
        raise UsageError(f"invalid mount {text!r}: unknown type {kind!r}; there are bind, volume, tmpfs and image")
    source = given.get("source", "")
    if kind == "image":
        if not source:
            raise UsageError(f"invalid mount {text!r}: the source of an image mount is its name")
        return Volume(source, target, read_only=True, image=True)
    if kind == "bind" and not source.startswith(("/", ".")):
        raise UsageError(f"invalid mount {text!r}: the source of a bind mount is a path, and begins with / or .")
    if kind == "volume" and "/" in source:
        raise UsageError(f"invalid mount {text!r}: the source of a volume is its name")
    propagation = given.get("bind-propagation", "rprivate")
    if propagation not in _PROPAGATIONS:
        raise UsageError(f"invalid mount {text!r}: unknown propagation {propagation!r}")
    return Volume(_source(source, text), target, read_only, propagation, copies=not no_copy, mapped=mapped)


def _source(source: str, text: str) -> str:
    if source in (".", "..") or source.startswith(("./", "../")):
        source = os.path.abspath(source)
    if "/" in source and not source.startswith("/"):
        raise UsageError(f"invalid volume {text!r}: {source!r} is neither a path that begins with / or ./ nor a name")
    if source.startswith("/") and not os.path.exists(source):
        raise UsageError(f"invalid volume {text!r}: {source} does not exist")
    return source


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
