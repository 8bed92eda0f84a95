"""Who wants attributes with a listing, and who names alone.

READDIRPLUS brings both: a stat(2) of each name, which may wait for a disk. os.listdir, `find -name` and Python's
importer only want names. An entry whose nodeid is 0 is a name alone: the kernel shows it, and sends LOOKUP if somebody
asks for more (fs/fuse/readdir.c:fuse_direntplus_link()), which costs several times what its attributes would.

So a lister is taken for one that wants all until its listings show that it doesn't: one file of each is a sample, given
by its name alone, and nobody looks it up. From then on it gets all regular files so, until half of them are looked up.
Whoever looks, the lister was worth it: another thread of it, or a program that it told.
"""

from collections.abc import Callable
from typing import TypeVar

_DOUBTS = 3
"""So many samples that nobody looked up yet are no reason: a walk goes down before it comes to a directory's files."""
_PROVEN = 8
"""Who had so many names looked up is given no more samples."""
_REMEMBERED = 1024
"""Listers, and directories, of which is known what became of them."""

T = TypeVar("T")


class _Lister:
    """A thread that lists directories; by its pid, or all whose pids aren't ours to see."""

    __slots__ = ("given", "looked_up")

    def __init__(self) -> None:
        self.given = 0
        """Files whose names it got alone; when it gets those of a directory, what was before counts half."""
        self.looked_up = 0
        """How many of them were looked up."""

    @property
    def wants_attributes(self) -> bool:
        return 2 * self.looked_up + _DOUBTS >= self.given


class _Directory:
    """A directory of which names were given alone."""

    __slots__ = ("ends", "lister")

    def __init__(self) -> None:
        self.lister = _Lister()
        """Who got them last."""
        self.ends = 0
        """How often they were listed to the end."""


class Listers:
    """Those who listed directories of one mount lately."""

    def __init__(self) -> None:
        self._listers: dict[int, _Lister] = {}
        self._directories: dict[int, _Directory] = {}
        """By nodeid."""

    def wants_attributes(self, pid: int, nodeid: int) -> bool:
        """Whether to give `pid`, who lists a directory, attributes with the names. A new one wants what others did."""
        lister = self._listers.get(pid)
        if lister is not None:
            return lister.wants_attributes
        directory = self._directories.get(nodeid)
        return directory is None or directory.lister.wants_attributes

    def wants_sample(self, pid: int) -> bool:
        """Whether what `pid` looks up, if it gets attributes, is still to be found out."""
        lister = self._listers.get(pid)
        return lister is None or lister.looked_up < _PROVEN

    def gave_sample(self, pid: int, nodeid: int) -> None:
        """Note that `pid` got one name of the directory alone."""
        lister = _latest(self._listers, pid, _Lister)
        lister.given += 1
        _latest(self._directories, nodeid, _Directory).lister = lister

    def gave_names(self, pid: int, nodeid: int, count: int) -> None:
        """Note that `pid` got so many files of the directory by their names alone."""
        lister, directory = _latest(self._listers, pid, _Lister), _latest(self._directories, nodeid, _Directory)
        if directory.lister is not lister:
            directory.lister = lister
            lister.given //= 2
            lister.looked_up //= 2
        lister.given += count

    def came_to_end(self, nodeid: int) -> int:
        """How often the directory was listed to its end without attributes, this time included."""
        directory = _latest(self._directories, nodeid, _Directory)
        directory.ends += 1
        return directory.ends

    def looked_up(self, nodeid: int) -> None:
        """Note that a name of the directory was looked up, and found."""
        directory = self._directories.get(nodeid)
        if directory is not None:
            directory.lister.looked_up += 1


def _latest(table: dict[int, T], key: int, make: Callable[[], T]) -> T:
    """What the table has for `key`, or a new one, now its last; the first is dropped if there are too many."""
    found = table.pop(key, None) or make()
    table[key] = found
    if len(table) > _REMEMBERED:
        del table[next(iter(table))]
    return found
