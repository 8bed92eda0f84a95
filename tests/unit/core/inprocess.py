"""The core without a mount: verbs by path, for tests of what no single process could time from outside."""

import os
from pathlib import Path

from unionfs import Union, UnionOptions, open_union
from unionfs.core.inodes import Node
from unionfs.core.model import Caller
from unionfs.core.ops import files, listing, lookup
from unionfs.core.work import run_inline

ROOT = Caller(0, 0)


class InProcess:
    """A union over directories of `tmp`: lower0 (uppermost), lower1, …, and upper."""

    def __init__(self, tmp: Path, lowers: int = 2, **options) -> None:
        self.tmp = tmp
        self.lowers = [tmp / f"lower{index}" for index in range(lowers)]
        self.upper = tmp / "upper"
        self.options = options
        for directory in (*self.lowers, self.upper, tmp / "work"):
            directory.mkdir(exist_ok=True)
        self._union: Union | None = None

    @property
    def union(self) -> Union:
        if self._union is None:
            lower = tuple(os.fsencode(path) for path in self.lowers)
            self._union = open_union(
                UnionOptions(
                    lower=lower, upper=os.fsencode(self.upper), workdir=os.fsencode(self.tmp / "work"), **self.options
                )
            )
        return self._union

    def reopen(self) -> None:
        if self._union is not None:
            self._union.check()
            self._union.close()
            self._union = None

    def node(self, path: str) -> Node:
        node: Node = self.union.root
        for name in path.split("/"):
            if name:
                node, _ = lookup.lookup(self.union, node, os.fsencode(name))
        return node

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        return run_inline(files.open_file(self.union, self.node(path), flags, ROOT))

    def read(self, path: str) -> bytes:
        fh = self.open(path)
        try:
            return os.pread(self.union.handles[fh].fd, 1 << 20, 0)
        finally:
            files.release(self.union, fh)

    def write(self, path: str, data: bytes) -> None:
        fh = self.open(path, os.O_WRONLY)
        try:
            os.pwrite(self.union.handles[fh].fd, data, 0)
        finally:
            files.release(self.union, fh)

    def names(self, path: str = "") -> list[str]:
        fh = listing.opendir(self.union, self.node(path))
        try:
            entries = [os.fsdecode(name) for _, name, _, _ in listing.readdir(self.union, fh, 0)]
        finally:
            listing.releasedir(self.union, fh)
        return sorted(name for name in entries if name not in (".", ".."))

    def debris(self) -> list[str]:
        """What is left in the directory of temporaries, but for the whiteout that all whiteouts share."""
        work = self.tmp / "work/work"
        return [name for name in os.listdir(work) if not (work / name).is_char_device()]
