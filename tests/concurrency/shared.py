"""Names and files that all processes use at once, and what must hold whoever comes first."""

import mmap
import os
import random
import struct
from contextlib import suppress
from pathlib import Path

STABLE = 150
SLOTS = 5
VERSION_BYTES = 3000
CELL = 64
TOKEN = b"the only one"


def build(lowers: list[Path], processes: int) -> None:
    """What they find, in two lower layers."""
    top, bottom = lowers
    for number in range(STABLE):
        _put((top if number % 3 else bottom) / f"crowd/stable{number}", b"")
        _put(bottom / f"crowd/passing{number}", b"")
    _put(bottom / "slots/0", TOKEN)
    for name in ("left", "right"):
        _put(bottom / f"pair/{name}", name.encode())
    _put(bottom / "versions/current", _version(0))
    _put(bottom / "cells", bytes(CELL * processes))
    _put(bottom / "log", b"")


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _version(number: int) -> bytes:
    return b"%08d" % number * (VERSION_BYTES // 8)


class Sharer:
    """Calls on what is everybody's."""

    def __init__(self, root: Path, process: int, seed: int, outside: Path) -> None:
        self.root = root
        self.process = process
        self.random = random.Random(seed * 1000 + 500 + process)
        self.outside = outside
        self.logged = 0
        self.cells = os.open(root / "cells", os.O_RDWR)
        self.mapping = mmap.mmap(self.cells, 0)
        self.mapped = 0
        self.last = [0] * (len(self.mapping) // CELL)
        self.verbs = (
            self.crowd, self.pass_by, self.token, self.swap, self.look_at_pair, self.new_version, self.read_version,
            self.cell, self.log,
        )  # fmt: skip

    def step(self) -> None:
        self.random.choice(self.verbs)()

    def crowd(self) -> None:
        """A listing has every stable name once, whatever else comes and goes."""
        listed = os.listdir(self.root / "crowd")
        stable = sorted(name for name in listed if name.startswith("stable"))
        assert stable == sorted(f"stable{number}" for number in range(STABLE)), f"listed {len(stable)} stable names"

    def pass_by(self) -> None:
        """Names come and go beside the stable ones."""
        path = self.root / f"crowd/passing{self.random.randrange(STABLE)}"
        with suppress(FileNotFoundError, FileExistsError):
            if self.random.randrange(2):
                os.unlink(path)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    def token(self) -> None:
        """There is one file that all want: who renames it has it, and nobody else."""
        mine = self.root / f"slots/mine{self.process}"
        try:
            os.rename(self.root / f"slots/{self.random.randrange(SLOTS)}", mine)
        except FileNotFoundError:
            return
        owner = os.open(self.outside / "owner", os.O_CREAT | os.O_EXCL | os.O_WRONLY)  # fails if there are two
        assert mine.read_bytes().startswith(TOKEN)
        with open(mine, "r+b") as file:
            file.seek(len(TOKEN))
            file.write(b" %d" % self.process)
        others = [name for name in os.listdir(self.root / "slots") if name != mine.name]
        assert others == [], f"it is here and at {others}"
        os.close(owner)
        os.unlink(self.outside / "owner")
        os.rename(mine, self.root / f"slots/{self.random.randrange(SLOTS)}")

    def swap(self) -> None:
        """Replace one name by way of a third one; both are always there."""
        new = self.root / f"pair/new{self.process}"
        name = self.random.choice(("left", "right"))
        new.write_bytes(name.encode())
        os.rename(new, self.root / "pair" / name)

    def look_at_pair(self) -> None:
        for name in ("left", "right"):
            assert (self.root / "pair" / name).read_bytes() == name.encode()

    def new_version(self) -> None:
        """Put a whole new file in the place of the old one."""
        new = self.root / f"versions/new{self.process}"
        new.write_bytes(_version(self.random.randrange(1000)))
        os.rename(new, self.root / "versions/current")

    def read_version(self) -> None:
        content = (self.root / "versions/current").read_bytes()
        assert content == _version(int(content[:8])), f"half of a version: {content[:8]!r} … {content[-8:]!r}"

    def cell(self) -> None:
        """Each process counts up in its own part of a file, and sees the others' counts go up only."""
        at = self.process * CELL
        self.mapped += 1
        value = struct.pack("<Q", self.mapped)
        if self.random.randrange(2):
            self.mapping[at : at + 8] = value
            assert os.pread(self.cells, 8, at) == value, "read(2) doesn't see what the mapping wrote"
        else:
            os.pwrite(self.cells, value, at)
            assert self.mapping[at : at + 8] == value, "the mapping doesn't see what write(2) wrote"
        for process in range(len(self.last)):
            seen = struct.unpack_from("<Q", self.mapping, process * CELL)[0]
            assert seen >= self.last[process], f"the count of {process} went from {self.last[process]} to {seen}"
            self.last[process] = seen

    def log(self) -> None:
        """Appending, nobody overwrites another's line."""
        with open(self.root / "log", "ab", buffering=0) as file:
            file.write(b"%2d %8d\n" % (self.process, self.logged))
        self.logged += 1

    def close(self) -> None:
        self.mapping.close()
        os.close(self.cells)


def check_after(root: Path, logged: dict[int, int]) -> None:
    """What must be left when all have ended; `logged` lines were written by each process."""
    slots = os.listdir(root / "slots")
    assert len(slots) == 1, slots
    assert (root / "slots" / slots[0]).read_bytes().startswith(TOKEN)
    lines = (root / "log").read_bytes().splitlines()
    expected = sorted(b"%2d %8d" % (process, line) for process, count in logged.items() for line in range(count))
    assert sorted(lines) == expected, f"{len(lines)} lines, not {len(expected)}"
    for process in logged:
        own = [line for line in lines if line.startswith(b"%2d " % process)]
        assert own == sorted(own), f"lines of {process} are not in order"
