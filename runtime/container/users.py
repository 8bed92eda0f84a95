"""Who a command runs as: `--user` looked up in the container's own /etc/passwd and /etc/group.

Own parser, because the C library's would load the container's NSS modules into our process. The two files are a
stranger's: a FIFO, a device or endless text must not stop us.
"""

import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from runtime.errors import Refusal
from unionfs.linux.fsops import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_MOST_BYTES = 1 << 20
_MOST_ID = (1 << 31) - 1


class User(NamedTuple):
    """What a process is set to before it runs the command."""

    uid: int
    gid: int
    groups: list[int]
    """Supplementary groups."""
    home: str


def look_up(root: int, spec: str, more_groups: Sequence[str] = ()) -> User:
    """The user that `spec` (NAME|UID[:GROUP|GID], or nothing for root) means under the directory `root`.

    As Docker has it: a name before a number of the same text; a number needs no entry; without a group, the
    user's own and those that list the user as a member. `more_groups` (NAME|GID) come on top. Raises Refusal.
    """
    who, _, group = spec.partition(":")
    who = who or "0"
    entry = _find(_records(root, b"etc/passwd", 7), who)
    if entry is None and not _is_id(who):
        raise Refusal(f"unable to find user {who}: no matching entries in passwd file")
    uid = int(entry[2]) if entry else int(who)
    gid = int(entry[3]) if entry else 0
    home = (entry[5] if entry else "") or "/"
    groups: list[int] = []
    if group:
        gid = _group_id(root, group)
    elif entry:
        members = _records(root, b"etc/group", 4)
        groups = [int(record[2]) for record in members if entry[0] in record[3].split(",")]
    groups += [number for name in more_groups if (number := _group_id(root, name)) not in groups]
    return User(uid, gid, groups, home)


def _group_id(root: int, group: str) -> int:
    entry = _find(_records(root, b"etc/group", 4), group)
    if entry is not None:
        return int(entry[2])
    if not _is_id(group):
        raise Refusal(f"unable to find group {group}: no matching entries in group file")
    return int(group)


def _find(records: list[list[str]], text: str) -> list[str] | None:
    """The record of that name; failing that, the first of that number."""
    for record in records:
        if record[0] == text:
            return record
    if _is_id(text):
        for record in records:
            if int(record[2]) == int(text):
                return record
    return None


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MOST_ID


def _records(root: int, path: bytes, fields: int) -> list[list[str]]:
    """The lines of a passwd-like file that have all fields, and ids that are numbers; none if it is absent."""
    records = []
    for line in _read(root, path).decode(errors="surrogateescape").splitlines():
        record = line.strip().split(":")
        ids = record[2:4] if fields > 4 else record[2:3]
        if len(record) >= fields and record[0] and all(map(_is_id, ids)):
            records.append(record)
    return records


def _read(root: int, path: bytes) -> bytes:
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        fd = openat2(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    try:
        status = os.fstat(fd)
        name = os.fsdecode(path)
        if not stat.S_ISREG(status.st_mode):
            raise Refusal(f"/{name} of the container is not a regular file")
        if status.st_size > _MOST_BYTES:
            raise Refusal(f"/{name} of the container is larger than 1 MiB")
        return os.read(fd, _MOST_BYTES)
    finally:
        os.close(fd)
