"""The merged listing of one directory: which names it has, and which layers hold each.

Built once by reading the directory in every layer; kept right in place by the verbs, as lower layers don't change.
Each visible name has a cookie, its offset in readdir: cookies grow, a name keeps its own, and a deleted one's is not
used again, so a reader that stands at any cookie misses and repeats nothing whatever happens around it.
"""

import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from unionfs.core.dialect import WH_OPAQUE, WH_PREFIX, Dialect
from unionfs.core.layer import DirFds, DirPart
from unionfs.linux.at import At

if TYPE_CHECKING:
    from sortedcontainers import SortedKeyList

FIRST_COOKIE = 3
"""1 and 2 are those of `.` and `..`."""

_BATCH = 256
"""A directory of more names keeps their order; those of a shorter one are sorted for each who reads it."""
_Below = tuple[DirPart, ...]


class Entry:
    """A name in a directory of the union."""

    __slots__ = ("below", "cookie", "upper")

    def __init__(self, upper: bool, below: _Below) -> None:
        self.cookie = 0
        """Its offset in listings, or 0 if the name is deleted."""
        self.upper = upper
        """Whether the upper has an object (not a whiteout) of this name."""
        self.below = below
        """The lower layers that have it, uppermost first, down to the first whiteout."""


class DirIndex:
    """Names of one directory in listing order."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._visible = 0
        self._order: SortedKeyList[bytes] | None = None
        """The visible names by cookie, once somebody read a long directory."""
        self._next = FIRST_COOKIE

    def __len__(self) -> int:
        return self._visible

    def get(self, name: bytes) -> Entry | None:
        """The entry of a visible name, or None."""
        entry = self._entries.get(name)
        return entry if entry is not None and entry.cookie else None

    def lower(self, name: bytes) -> bool:
        """Whether a lower layer has `name`: deleting it needs a whiteout."""
        entry = self._entries.get(name)
        return entry is not None and bool(entry.below)

    def set_upper(self, name: bytes) -> None:
        """The upper now has an object called `name`."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = Entry(True, ())
        entry.upper = True
        if not entry.cookie:
            entry.cookie = self._next
            self._next += 1
            self._visible += 1
            if self._order is not None:
                self._order.add(name)

    def remove(self, name: bytes) -> None:
        """`name` is gone from the union."""
        entry = self._entries[name]
        if self._order is not None:
            self._order.remove(name)
        entry.cookie = 0
        entry.upper = False
        if not entry.below:
            del self._entries[name]
        self._visible -= 1

    def forget_lower(self) -> None:
        """The directory has no lower content any more: every visible name is the upper's."""
        for name, entry in list(self._entries.items()):
            entry.below = ()
            if not entry.cookie:
                del self._entries[name]

    def after(self, cookie: int) -> Iterator[tuple[int, bytes]]:
        """(cookie, name) of every name behind `cookie`; safe while names come and go."""
        entries = self._entries
        while batch := self._behind(cookie):
            for cookie, name in batch:
                entry = entries.get(name)
                if entry is not None and entry.cookie == cookie:
                    yield cookie, name

    def _behind(self, cookie: int) -> list[tuple[int, bytes]]:
        """The next ones. O(log n) in long directories."""
        if cookie >= self._next - 1:
            return []
        if self._order is None and self._visible <= _BATCH:
            return sorted((entry.cookie, name) for name, entry in self._entries.items() if entry.cookie > cookie)
        names = islice(self._ordered().irange_key(cookie, inclusive=(False, False)), _BATCH)
        return [(self._entries[name].cookie, name) for name in names]

    def _ordered(self) -> "SortedKeyList[bytes]":
        if self._order is None:
            from sortedcontainers import SortedKeyList  # 3 ms, which few mounts need

            visible = (name for name, entry in self._entries.items() if entry.cookie)
            self._order = SortedKeyList(visible, key=lambda name: self._entries[name].cookie)
        return self._order

    @classmethod
    def build(cls, fds: DirFds, dialect: Dialect, parts: list[DirPart]) -> "DirIndex":
        """Read the directory made of `parts`, uppermost first. Raises OSError of opening and reading them."""
        index = cls()
        entries = index._entries
        gone: set[bytes] = set()
        hidden: set[bytes] = set()
        shared: dict[_Below, _Below] = {}
        for part in parts:
            names, deleted = _scan(fds.fd(part), part, dialect)
            if part.layer.is_upper:
                entries.update((name, Entry(True, ())) for name in names)
                gone.update(deleted)  # yet what they delete is remembered: a new object needs a whiteout again
                hidden.update(name for name in deleted if name in entries)  # a `.wh.` file stays beside a new object
                continue
            alone = (part,)
            for name in names:
                if name in hidden:
                    continue
                entry = entries.get(name)
                if entry is None:
                    entries[name] = Entry(False, alone)
                else:
                    below = (*entry.below, part)
                    entry.below = shared.setdefault(below, below)
            hidden.update(deleted)
        visible = (entry for name, entry in entries.items() if entry.upper or name not in gone)
        for index._next, entry in enumerate(visible, FIRST_COOKIE + 1):
            entry.cookie = index._next - 1
        index._visible = index._next - FIRST_COOKIE
        return index


def _scan(fd: int, part: DirPart, dialect: Dialect) -> tuple[list[bytes], list[bytes]]:
    """The names in one layer's directory, and those that it deletes from the layers below."""
    names: list[bytes] = []
    deleted: list[bytes] = []
    xwhiteouts = part.marks(fd, dialect).xwhiteouts
    wh_names = dialect.wh_names
    with os.scandir(At(fd, b".").path) as entries:
        for found in entries:
            name = found.name
            if found.is_file(follow_symlinks=False):
                suspect = xwhiteouts
            else:
                suspect = not found.is_dir(follow_symlinks=False) and not found.is_symlink()
            if suspect and _is_whiteout(part, At(fd, name), dialect):
                deleted.append(name)
            elif wh_names and name.startswith(WH_PREFIX):
                if name != WH_OPAQUE:
                    deleted.append(name[len(WH_PREFIX) :])
            else:
                names.append(name)
    return names, deleted


def _is_whiteout(part: DirPart, place: At, dialect: Dialect) -> bool:
    try:
        return part.is_whiteout(place, place.stat(), dialect)
    except FileNotFoundError:
        return False
