"""The merged listing of one directory: which names it has, and which layers hold each.

Built once by reading the directory in every layer; kept right in place by the verbs, as lower layers don't change.
Each visible name has a cookie, its offset in readdir: cookies grow, a name keeps its own, and a deleted one's is not
used again, so a reader that stands at any cookie misses and repeats nothing whatever happens around it.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator

from unionfs.core.dialect import WH_OPAQUE, WH_PREFIX, Dialect
from unionfs.core.layer import DirFds, DirPart
from unionfs.linux.at import At

FIRST_COOKIE = 3
"""1 and 2 are those of `.` and `..`."""

_BATCH = 256
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
        self._cookies: list[int] = []
        """In growing order, those of deleted names among them until half are..."""
        self._names: list[bytes] = []
        """...and the names that got them."""
        self._deleted = 0
        """How many of them mean nothing any more."""
        self._next = FIRST_COOKIE

    def __len__(self) -> int:
        return len(self._names) - self._deleted

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
            self._cookies.append(self._next)
            self._names.append(name)
            self._next += 1

    def remove(self, name: bytes) -> None:
        """`name` is gone from the union."""
        entry = self._entries[name]
        entry.cookie = 0
        entry.upper = False
        if not entry.below:
            del self._entries[name]
        self._deleted += 1
        if self._deleted * 2 > len(self._names):
            self._tidy()

    def forget_lower(self) -> None:
        """The directory has no lower content any more: every visible name is the upper's."""
        for name, entry in list(self._entries.items()):
            entry.below = ()
            if not entry.cookie:
                del self._entries[name]

    def after(self, cookie: int) -> Iterator[tuple[int, bytes]]:
        """(cookie, name) of every name behind `cookie`. O(log n) to the first; safe while names come and go."""
        entries = self._entries
        while True:
            start = bisect_right(self._cookies, cookie)
            batch = list(zip(self._cookies[start : start + _BATCH], self._names[start : start + _BATCH], strict=True))
            if not batch:
                return
            for cookie, name in batch:
                entry = entries.get(name)
                if entry is not None and entry.cookie == cookie:
                    yield cookie, name

    def _tidy(self) -> None:
        """Let go of what deleted names have left in the order."""
        self._names = [name for _, name in self.after(0)]
        self._cookies = [self._entries[name].cookie for name in self._names]
        self._deleted = 0

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
        index._names = [name for name, entry in entries.items() if entry.upper or name not in gone]
        index._cookies = list(range(FIRST_COOKIE, FIRST_COOKIE + len(index._names)))
        for cookie, name in zip(index._cookies, index._names, strict=True):
            entries[name].cookie = cookie
        index._next += len(index._names)
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
