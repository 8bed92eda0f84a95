"""The user namespace of an ordinary user's container.

Its root is the user; where /etc/subuid and /etc/subgid give the user ranges and newuidmap is installed, ids from 1 on
are those of the ranges, else there is no other id. The monitor enters it, and with it the driver and the container;
commands that come later join it. Owners of files are in xattrs, as an ordinary user can give nothing away.
"""

import os
from contextlib import suppress
from typing import NoReturn

from runtime.container import subids
from runtime.container.config import Maps
from runtime.errors import FAILURE, Refusal, UsageError
from unionfs.linux import process

_DONE = b"d"
_MESSAGE_BYTES = 4096
_PROGRAMS = ("newuidmap", "newgidmap")
_MOST_IDS = 65535


def needed() -> bool:
    """Whether we are an ordinary user."""
    return os.geteuid() != 0


def maps() -> Maps:
    """What this user's containers can have."""
    import shutil

    own_uid, own_gid = (0, os.geteuid(), 1), (0, os.getegid(), 1)
    uids, gids = map(_range, subids.FILES)
    if uids is None or gids is None or not all(map(shutil.which, _PROGRAMS)):
        return Maps([own_uid], [own_gid])
    return Maps([own_uid, uids], [own_gid, gids])


def keep_id(text: str) -> tuple[Maps, str]:
    """`keep-id[:uid=ID,gid=ID]`: maps in which the user has these ids, by default his own; and who that is inside.

    They are of a namespace within one of maps(). Raises UsageError, Refusal.
    """
    given = dict(item.partition("=")[::2] for item in text.partition(":")[2].split(",") if item)
    ids = {"uid": str(os.geteuid()), "gid": str(os.getegid())} | given
    if set(ids) != {"uid", "gid"} or not all(number.isascii() and number.isdigit() for number in ids.values()):
        raise UsageError(f"invalid --userns {text!r}: it is keep-id:uid=ID,gid=ID")
    outer = maps()
    if outer.only_root:
        raise Refusal(f"--userns {text}: /etc/subuid and /etc/subgid give you no ids, or newuidmap is not installed")
    uids, gids = (_around(int(ids[key]), rows) for key, rows in zip(("uid", "gid"), outer, strict=True))
    return Maps(uids, gids), f"{ids['uid']}:{ids['gid']}"


def _around(own: int, outer: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Rows in which `own` is the outer namespace's root, and all ids around are its others in order."""
    count = outer[1][2]
    below = min(own, count)
    rows = [(0, 1, below), (own, 0, 1), (own + 1, below + 1, count - below)]
    return [row for row in rows if row[2]]


def enter(mapped: Maps, unshared: int, ready: int) -> None:
    """Enter a new namespace, say so on `unshared`, and wait until the other side of `ready` has set its maps.

    Raises OSError: EPERM, ENOSPC (user namespaces are switched off, or there are too many).
    """
    process.unshare(process.CLONE_NEWUSER)
    if mapped.only_root:
        _write("setgroups", "deny")
        _write("uid_map", _text(mapped.uids))
        _write("gid_map", _text(mapped.gids))
    os.write(unshared, _DONE)
    if not os.read(ready, 1):
        raise PermissionError("its maps of ids could not be set")
    os.close(ready)
    _be_root()


def join(fd: int, joined: int) -> None:
    """Enter the namespace of another container of the same user, and say so on `joined`. Raises OSError."""
    process.setns(fd, process.CLONE_NEWUSER)
    os.write(joined, _DONE)
    _be_root()


def _be_root() -> None:
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def become_root() -> Maps:
    """Enter a new namespace as this user's containers have: its maps, which a child outside sets. Raises OSError."""
    mapped, us = maps(), os.getpid()
    unshared_reader, unshared = os.pipe()
    ready_reader, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(unshared)
            if os.read(unshared_reader, 1):
                write_maps(mapped, us)
                os.write(ready, b"r")
        except Refusal as error:
            os.write(2, f"pyunion: {error}\n".encode(errors="backslashreplace"))
        finally:
            os._exit(0)
    os.close(unshared_reader)
    os.close(ready)
    enter(mapped, unshared, ready_reader)
    os.close(unshared)
    os.waitpid(child, 0)
    return mapped


def hear(reader: int) -> None:
    """Wait until another process has entered a namespace; refuse() is its way to say why not. Raises Refusal."""
    said = os.read(reader, _MESSAGE_BYTES)
    if said != _DONE:
        reason = said.decode(errors="replace") or "a process of ours was killed"
        raise Refusal(f"a user namespace can't be had here: {reason}")


def refuse(writer: int, error: OSError) -> NoReturn:
    """End this process, which could not enter a namespace."""
    try:
        os.write(writer, (error.strerror or str(error)).encode())
    finally:
        os._exit(FAILURE)


def write_maps(mapped: Maps, pid: int) -> None:
    """Set the maps of the namespace that `pid` has entered. Raises Refusal."""
    if mapped.only_root:
        return
    import subprocess

    for program, rows in zip(_PROGRAMS, mapped, strict=True):
        words = [program, str(pid), *(str(number) for row in rows for number in row)]
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise Refusal(result.stderr.strip() or f"{program} ended with status {result.returncode}")


def _range(path: str) -> tuple[int, int, int] | None:
    """A row for the first range of this user in a file like subuid(5)."""
    import pwd

    names = {str(os.geteuid())}
    with suppress(KeyError):
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    for one in subids.ranges(path):
        if one.owner in names and one.size:
            return 1, one.first, min(one.size, _MOST_IDS)
    return None


def _text(rows: list[tuple[int, int, int]]) -> str:
    """As /proc/PID/uid_map takes it."""
    return "".join(f"{first} {outside} {count}\n" for first, outside, count in rows)


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
