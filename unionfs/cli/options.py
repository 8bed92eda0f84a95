"""What the mount program was asked for: fuse-overlayfs's command line, and mount(8)'s words, read into one value.

Pure: nothing is looked at but the arguments. An option has its meaning or is refused by name; those that tune a
mechanism which only other programs have are listed in the help as without effect.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from unionfs.cli import grammar
from unionfs.core.options import IdMap, UnionOptions
from unionfs.fuse.kernel import FOREVER_S
from unionfs.fuse.mounting import Settings
from unionfs.linux import mounts

Setter = Callable[["MountOptions", str, bytes | None], "MountOptions"]
Reader = Callable[[str, bytes | None], Any]


class OptionError(Exception):
    """The command line can't be meant: one line that names the culprit."""


class MountOptions(NamedTuple):
    """A mount to be made."""

    union: UnionOptions
    settings: Settings
    mountpoint: bytes = b""
    foreground: bool = False
    debug: bool = False


Wanted = MountOptions | Literal["help", "version"]


def parse(arguments: Sequence[bytes]) -> Wanted:
    """Read the arguments of the mount program, its own name left out. Raises OptionError."""
    asked = MountOptions(UnionOptions(lower=(), dialect="auto"), Settings())
    words: list[bytes] = []
    left = iter(arguments)
    for argument in left:
        if argument == b"--":
            words += left
        elif not argument.startswith(b"-"):
            words.append(argument)
        elif argument in (b"-h", b"--help"):
            return "help"
        elif argument in (b"-V", b"--version"):
            return "version"
        elif argument == b"--debug":
            asked = _set(asked, "debug", None)
        else:
            asked = _read_letters(asked, argument, left)
    return _complete(asked, words)


def _read_letters(asked: MountOptions, argument: bytes, left: Iterator[bytes]) -> MountOptions:
    """Take `argument`, such as -fd or -oro; -o at its end has its options in the next one."""
    for place, letter in enumerate(argument[1:].decode("latin-1"), 2):
        if letter == "o":
            text = argument[place:] or next(left, None)
            if text is None:
                raise OptionError("-o needs options after it: -o lowerdir=DIR")
            for name, value in grammar.items(text):
                asked = _set(asked, os.fsdecode(name), value)
            return asked
        if letter not in _LETTERS:
            raise OptionError(f"unknown argument {shown(argument)}: --help lists what there is")
        asked = _set(asked, _LETTERS[letter], None)
    return asked


def _complete(asked: MountOptions, words: list[bytes]) -> MountOptions:
    if not words:
        raise OptionError("no mount point: usage is pyunionfs -o lowerdir=DIR[:DIR...] MOUNTPOINT, --help says more")
    if len(words) > 2:
        raise OptionError(f"too many arguments: {shown(words[2])} comes after the mount point, --help says more")
    if not asked.union.lower:
        raise OptionError("no layers: name them with -o lowerdir=UPPERMOST[:DIR...]")
    if len(words) == 2 and words[0]:
        asked = asked._replace(settings=asked.settings._replace(source=words[0]))
    return asked._replace(mountpoint=words[-1], foreground=asked.foreground or asked.debug)


def _set(asked: MountOptions, name: str, value: bytes | None) -> MountOptions:
    """`asked` with one more option; of one that is given twice, the last counts."""
    if name in _ATTRIBUTES and value is None:
        flag, on = _ATTRIBUTES[name]
        attributes = asked.settings.attributes & ~flag | (flag if on else 0)
        return asked._replace(settings=asked.settings._replace(attributes=attributes))
    if name in _OPTIONS:
        return _OPTIONS[name](asked, name, value)
    if name in _REFUSED:
        raise OptionError(f"option {name} is not supported: {_REFUSED[name]}")
    if name not in _WITHOUT_EFFECT and not name.startswith(("x-", "X-")):
        raise OptionError(f"unknown option {shown(name)}: --help lists what there is")
    return asked


def shown(name: bytes | str) -> str:
    """`name` in one printable line."""
    return repr(os.fsdecode(name))


# Values


def _path(name: str, value: bytes | None) -> bytes:
    if not value:
        raise OptionError(f"option {name} needs a directory: {name}=DIR")
    return grammar.unescaped(value)


def _name(name: str, value: bytes | None) -> bytes:
    if not value:
        raise OptionError(f"option {name} needs a name: {name}=NAME")
    return grammar.unescaped(value)


def _lowers(name: str, value: bytes | None) -> tuple[bytes, ...]:
    layers = grammar.layers(value or b"")
    named = tuple(filter(None, layers))
    first, last = (layers.index(named[0]), layers.index(named[-1])) if named else (0, 0)
    if b"" in layers[first:last]:
        raise OptionError(f"option {name}: '::' asks for layers of data only, which are not supported")
    return named


def _switch(name: str, value: bytes | None) -> bool:
    if value in (None, b"on", b"1", b"yes", b"true"):
        return True
    if value in (b"off", b"0", b"no", b"false"):
        return False
    raise OptionError(f"option {name}: {shown(value)} is neither on nor off")


def _not(name: str, value: bytes | None) -> bool:
    return not _switch(name, value)


def _way_of_renaming(name: str, value: bytes | None) -> str:
    if value not in (b"redirect", b"copy"):
        raise OptionError(f"option {name} is redirect or copy: {name}=redirect")
    return value.decode()


def _one_of(*words: str) -> Reader:
    """Takes one of `words`."""

    def read(name: str, value: bytes | None) -> str:
        word = os.fsdecode(value or b"")
        if word not in words:
            raise OptionError(f"option {name} is one of {', '.join(words)}: {name}={words[0]}")
        return word

    return read


def _seconds(name: str, value: bytes | None) -> float:
    try:
        seconds = float(value or b"")
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise OptionError(f"option {name} needs a number of seconds: {name}=10")
    return min(seconds, FOREVER_S)


# Setters


def _mount(field: str, read: Reader) -> Setter:
    """What `read` makes of the value goes into that field of MountOptions."""
    return lambda asked, name, value: asked._replace(**{field: read(name, value)})


def _setting(field: str, read: Reader) -> Setter:
    """The same for Settings."""
    return lambda asked, name, value: asked._replace(settings=asked.settings._replace(**{field: read(name, value)}))


def _union(field: str, read: Reader) -> Setter:
    """The same for UnionOptions."""
    return lambda asked, name, value: asked._replace(union=asked.union._replace(**{field: read(name, value)}))


def _add_lower(asked: MountOptions, name: str, value: bytes | None) -> MountOptions:
    return asked._replace(union=asked.union._replace(lower=(*asked.union.lower, _path(name, value))))


def _for_kernel(asked: MountOptions, name: str, value: bytes | None) -> MountOptions:
    if not value:
        raise OptionError(f"option {name} needs a value: {name}=VALUE")
    more = (*asked.settings.kernel_options, (os.fsencode(name), value))
    return asked._replace(settings=asked.settings._replace(kernel_options=more))


def _only(accepted: str, otherwise: str) -> Setter:
    """Takes the values in `accepted`, which mean what is the case anyway."""

    def check(asked: MountOptions, name: str, value: bytes | None) -> MountOptions:
        if (value or b"").decode("utf-8", "replace") not in accepted.split("|"):
            raise OptionError(f"option {name}={os.fsdecode(value or b'')!s} is not supported: {otherwise}")
        return asked

    return check


def _id_map(name: str, value: bytes | None) -> IdMap:
    """A mapping of ids, [:]ID:ID:COUNT..."""
    numbers = [part for part in (value or b"").split(b":") if part]
    if not numbers or len(numbers) % 3 or not all(_is_id(number) for number in numbers):
        raise OptionError(f"option {name} needs triples of numbers: {name}=ID_IN_LAYERS:ID_SHOWN:COUNT[:...]")
    first, shown, count = (map(int, numbers[place::3]) for place in range(3))
    return tuple(zip(first, shown, count, strict=True))


def _id(name: str, value: bytes | None) -> int:
    if value is None or not _is_id(value):
        raise OptionError(f"option {name} needs a number: {name}=1000")
    return int(value)


def _is_id(number: bytes) -> bool:
    return number.isdigit() and int(number) < _ID_END


def _squash_to_root(asked: MountOptions, name: str, value: bytes | None) -> MountOptions:
    """Everything is root's, but for what squash_to_uid and squash_to_gid say, wherever they stand."""
    if not _switch(name, value):
        return asked
    uid, gid = asked.union.squash_uid, asked.union.squash_gid
    union = asked.union._replace(squash_uid=0 if uid is None else uid, squash_gid=0 if gid is None else gid)
    return asked._replace(union=union)


def _xattr_permissions(name: str, value: bytes | None) -> int:
    if value not in (b"0", b"1", b"2"):
        raise OptionError(f"option {name} is one of 0, 1, 2: {name}=2")
    return int(value)


_ID_END = 2**32 - 1

_OPTIONS: dict[str, Setter] = {
    "lowerdir": _union("lower", _lowers),
    "lowerdir+": _add_lower,
    "upperdir": _union("upper", _path),
    "workdir": _union("workdir", _path),
    "dialect": _union("dialect", _one_of("auto", "overlay", "oci")),
    "redirect_dir": _union("redirect_dir", _switch),
    "rename": _union("rename", _way_of_renaming),
    "metacopy": _union("metacopy", _switch),
    "volatile": _union("volatile", _switch),
    "fsync": _union("volatile", _not),
    "userxattr": _union("userxattr", _switch),
    "noxattrs": _union("xattrs", _not),
    "noacl": _union("acl", _not),
    "static_nlink": _union("static_nlink", _switch),
    "uidmapping": _union("uid_map", _id_map),
    "gidmapping": _union("gid_map", _id_map),
    "squash_to_root": _squash_to_root,
    "squash_to_uid": _union("squash_uid", _id),
    "squash_to_gid": _union("squash_gid", _id),
    "xattr_permissions": _union("xattr_permissions", _xattr_permissions),
    "timeout": _setting("timeout_s", _seconds),
    "fsname": _setting("source", _name),
    "allow_other": _setting("allow_other", _switch),
    "private": _setting("private", _switch),
    "rprivate": _setting("private", _switch),
    "foreground": _mount("foreground", _switch),
    "debug": _mount("debug", _switch),
    "max_read": _for_kernel,
    "context": _for_kernel,
    "fscontext": _for_kernel,
    "defcontext": _for_kernel,
    "rootcontext": _for_kernel,
    "binding": _setting("binding", _one_of("auto", "direct", "pyfuse3")),
    "lower_io": _setting("lower_io", _one_of("auto", "cached", "shared")),
    "index": _only("on|1", "hard links are always kept (index=on)"),
    "nfs_export": _only("off|0", "the mount can't be exported (nfs_export=off)"),
    "xino": _only("on|auto|off", "inode numbers are always unique: on, auto and off are the same"),
    "plugins": _only("", "there are no plugins"),
}

_REFUSED = {
    "ino32_t": "inode numbers have 64 bits",
    "allow_root": "it is allow_other, or nobody but who mounts",
    "auto_unmount": "the driver unmounts when it is told to end",
    "remount": "unmount, then mount again (mount -o remount,bind,… changes ro, noexec and the like without)",
}

_OTHERS_TUNING = (
    "threaded clone_fd max_idle_threads max_threads fast_ino writeback max_write max_readahead max_background "
    "default_permissions nonempty subtype"
)
_WORDS_OF_MOUNT_8 = "defaults auto noauto nofail _netdev user nouser users nousers owner noowner group nogroup comment"
_WORDS_OF_THE_KERNEL = (
    "relatime norelatime strictatime nostrictatime lazytime nolazytime iversion noiversion async silent loud nomand"
)
_WITHOUT_EFFECT = frozenset(f"{_OTHERS_TUNING} {_WORDS_OF_MOUNT_8} {_WORDS_OF_THE_KERNEL}".split())

_ATTRIBUTES = {
    "ro": (mounts.MOUNT_ATTR_RDONLY, True),
    "rw": (mounts.MOUNT_ATTR_RDONLY, False),
    "nosuid": (mounts.MOUNT_ATTR_NOSUID, True),
    "suid": (mounts.MOUNT_ATTR_NOSUID, False),
    "nodev": (mounts.MOUNT_ATTR_NODEV, True),
    "dev": (mounts.MOUNT_ATTR_NODEV, False),
    "noexec": (mounts.MOUNT_ATTR_NOEXEC, True),
    "exec": (mounts.MOUNT_ATTR_NOEXEC, False),
    "noatime": (mounts.MOUNT_ATTR_NOATIME, True),
    "atime": (mounts.MOUNT_ATTR_NOATIME, False),
    "nodiratime": (mounts.MOUNT_ATTR_NODIRATIME, True),
    "diratime": (mounts.MOUNT_ATTR_NODIRATIME, False),
    "nosymfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, True),
    "symfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, False),
}

_LETTERS = {"f": "foreground", "d": "debug"}
