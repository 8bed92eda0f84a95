"""The user namespace of an ordinary user's container.

Its root is the user; where /etc/subuid and /etc/subgid give the user ranges and newuidmap is installed, ids from 1 on
are those of the ranges, else there is no other id. The monitor enters it, and with it the driver and the container;
commands that come later join it. Owners of files are in xattrs, as an ordinary user can give nothing away.
"""

import os
from contextlib import suppress
from typing import NamedTuple

from runtime.container.users import User
from runtime.errors import Refusal
from unionfs.linux import process

_PROGRAMS = ("newuidmap", "newgidmap")
_MOST_IDS = 65535


class Maps(NamedTuple):
    """Beyond 0: (first id of the machine, how many), or nothing."""

    uids: tuple[int, int] | None
    gids: tuple[int, int] | None


def needed() -> bool:
    """Whether we are an ordinary user."""
    return os.geteuid() != 0


def maps() -> Maps:
    """What this user's containers can have."""
    import shutil

    uids, gids = _range("/etc/subuid"), _range("/etc/subgid")
    if uids is None or gids is None or not all(map(shutil.which, _PROGRAMS)):
        return Maps(None, None)
    return Maps(uids, gids)


def enter(mapped: Maps, unshared: int, ready: int) -> None:
    """Enter a new namespace, say so by closing `unshared`, and wait until the other side of `ready` has set its maps.

    Raises OSError: EPERM, ENOSPC (user namespaces are switched off, or there are too many).
    """
    uid, gid = os.geteuid(), os.getegid()
    process.unshare(process.CLONE_NEWUSER)
    os.close(unshared)
    if mapped.uids is None:
        _write("setgroups", "deny")
        _write("uid_map", f"0 {uid} 1")
        _write("gid_map", f"0 {gid} 1")
    if not os.read(ready, 1):
        raise PermissionError("its maps of ids could not be set")
    os.close(ready)
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
            os.read(unshared_reader, 1)
            write_maps(mapped, us)
            os.write(ready, b"r")
        except Refusal as error:
            os.write(2, f"pyunion: {error}\n".encode(errors="backslashreplace"))
        finally:
            os._exit(0)
    os.close(unshared_reader)
    os.close(ready)
    enter(mapped, unshared, ready_reader)
    os.waitpid(child, 0)
    return mapped


def write_maps(mapped: Maps, pid: int) -> None:
    """Set the maps of the namespace that `pid` has entered. Raises Refusal."""
    if mapped.uids is None or mapped.gids is None:
        return
    import subprocess

    own_ids, ranges = (os.geteuid(), os.getegid()), (mapped.uids, mapped.gids)
    for program, own, (first, count) in zip(_PROGRAMS, own_ids, ranges, strict=True):
        words = [program, str(pid), "0", str(own), "1", "1", str(first), str(count)]
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise Refusal(result.stderr.strip() or f"{program} ended with status {result.returncode}")


def as_possible(mapped: Maps, user: User) -> User:
    """`user` as this namespace can have him: of one id, there are no groups. Raises Refusal: there is no such user."""
    if mapped.uids is not None:
        return user
    if (user.uid, user.gid) != (0, 0):
        reason = "newuidmap is not installed, or /etc/subuid and /etc/subgid give you no ids"
        raise Refusal(f"user {user.uid}:{user.gid}: there is root alone, for {reason}")
    return user._replace(groups=[])


def _range(path: str) -> tuple[int, int] | None:
    """The first range of this user in a file like subuid(5)."""
    import pwd

    names = {str(os.geteuid())}
    with suppress(KeyError):
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.strip().split(":") for line in file]
    except OSError:
        return None
    for row in rows:
        if len(row) == 3 and row[0] in names and row[1].isdigit() and row[2].isdigit() and int(row[2]):
            return int(row[1]), min(int(row[2]), _MOST_IDS)
    return None


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
