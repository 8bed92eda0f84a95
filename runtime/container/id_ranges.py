"""Which ids of the machine a container's user namespace gets: as it was told, or a range that no other one has.

Ranges come from what /etc/subuid and /etc/subgid give to `containers`, or else to root, in pieces of 65536:

    ROOT/ids/FIRST   a symlink to the id of the container whose piece of /etc/subuid begins with FIRST
"""

import os
from collections.abc import Iterator

from runtime.container.config import Maps
from runtime.container.record import Container
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError

_PIECE = 1 << 16
_OWNERS = ("containers", "root", "0")
_MOST_ID = (1 << 32) - 2
_MOST_ROWS = 340  # user_namespaces(7)

Row = tuple[int, int, int]


def parse_maps(uids: list[str], gids: list[str]) -> Maps:
    """The values of --uidmap and --gidmap; where one isn't given, it is as the other. Raises UsageError."""
    return Maps(_rows("uidmap", uids or gids), _rows("gidmap", gids or uids))


def _rows(option: str, texts: list[str]) -> list[Row]:
    from unionfs.core.ids import overlap  # this module is on every container's way, this function on few's

    rows = [_row(option, row) for text in texts for row in text.split(",")]
    if not any(first == 0 for first, _, _ in rows):
        raise UsageError(f"--{option}: the container needs an id 0, as in 0:100000:65536")
    if overlap(tuple(rows)):
        raise UsageError(f"--{option}: two of its ranges overlap")
    if len(rows) > _MOST_ROWS:
        raise UsageError(f"--{option}: the kernel takes at most {_MOST_ROWS} ranges")
    return rows


def _row(option: str, text: str) -> Row:
    numbers = text.split(":")
    if len(numbers) == 2:
        numbers.append("1")
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise UsageError(f"invalid --{option} {text!r}: it is ID:ID-OF-THE-MACHINE[:COUNT]")
    first, outside, count = map(int, numbers)
    if not count or max(first, outside) + count - 1 > _MOST_ID:
        raise UsageError(f"invalid --{option} {text!r}: there are ids from 0 to {_MOST_ID}")
    return first, outside, count


def reserve(store: Store, container: Container) -> Maps:
    """Ids for a new container that none of this store has, as long as it exists. Raises Refusal."""
    from runtime.container.subids import FILES

    directory = f"{container.places.root}/ids"
    with store.exclusive():
        os.makedirs(directory, mode=0o700, exist_ok=True)
        pieces = list(zip(*map(_pieces, FILES), strict=False))
        for uid, gid in pieces:
            if _take(f"{directory}/{uid}", container):
                return Maps([(0, uid, _PIECE)], [(0, gid, _PIECE)])
    reason = "other containers have them all" if pieces else f"they give containers and root no {_PIECE} in a row"
    raise Refusal(f"--userns: no ids in /etc/subuid and /etc/subgid: {reason} (or say --uidmap)")


def _take(place: str, container: Container) -> bool:
    """Note that it is this container's, unless it is that of another one which exists."""
    if os.path.lexists(place):
        if os.path.isdir(f"{container.places.root}/containers/{os.readlink(place)}"):
            return False
        os.unlink(place)
    os.symlink(container.id, place)
    return True


def _pieces(path: str) -> Iterator[int]:
    """The first ids of all pieces that a file like subuid(5) has for us."""
    from runtime.container.subids import ranges

    found = list(ranges(path))
    owner = next((owner for owner in _OWNERS if any(one.owner == owner for one in found)), "")
    for one in found:
        if one.owner == owner:
            yield from range(one.first, one.first + one.size - _PIECE + 1, _PIECE)
