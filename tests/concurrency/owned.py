"""One process among many: it alone changes the names that begin with its own, and knows what each must be."""

import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path

NAMES = 12
LOWER_NAMES = 6
PAGE = 4096


def build(lower: Path, processes: int) -> None:
    """What the processes find: some names of each in two directories, two of them hard links."""
    for directory in ("flat", "deep/er"):
        (lower / directory).mkdir(parents=True)
        for process in range(processes):
            for number in range(LOWER_NAMES):
                (lower / directory / f"{process}-{number}").write_bytes(_lower_content(process, number))
            os.link(lower / directory / f"{process}-0", lower / directory / f"{process}-link")


def _lower_content(process: int, number: int) -> bytes:
    return b"%d %d of the lower layer, " % (process, number) * (1 + 400 * (number % 2))


class Inode:
    """What a file must be."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.mode = 0o644


class Owner:
    """Random calls on the names of one process, each checked against what it knows."""

    def __init__(self, root: Path, process: int, seed: int) -> None:
        self.root = root
        self.process = process
        self.random = random.Random(seed * 1000 + process)
        self.files: dict[str, Inode] = {}
        self.directories: dict[str, bool] = {}
        for directory in ("flat", "deep/er"):
            for number in range(LOWER_NAMES):
                self.files[f"{directory}/{process}-{number}"] = Inode(_lower_content(process, number))
            self.files[f"{directory}/{process}-link"] = self.files[f"{directory}/{process}-0"]
        self.history: list[str] = []
        self.verbs: list[Callable[[], str | None]] = [
            self.create, self.rewrite, self.append, self.truncate, self.chmod, self.unlink, self.rename, self.rename,
            self.link, self.by_mmap, self.read, self.read, self.list, self.directory,
        ]  # fmt: skip

    def step(self) -> None:
        """One call, and a look."""
        verb = self.random.choice(self.verbs)
        try:
            done = verb()
        except OSError as error:
            raise AssertionError(f"{verb.__name__}: {error} after {self.history[-10:]}") from error
        if done is not None:
            self.history.append(done)

    def check(self) -> None:
        """Look at everything."""
        for path in self.files:
            self._check(path)
        self.list()

    def _free(self) -> str:
        directory = self.random.choice(("flat", "deep/er", *self.directories))
        return f"{directory}/{self.process}-{self.random.randrange(NAMES)}"

    def _taken(self) -> str | None:
        return self.random.choice(sorted(self.files)) if self.files else None

    def _check(self, path: str) -> None:
        inode = self.files[path]
        full = self.root / path
        with open(full, "rb") as file:
            content = file.read()
            status = os.fstat(file.fileno())
        assert content == inode.content, f"{path}: {len(content)} bytes, not {len(inode.content)}: {self.history[-10:]}"
        links = sum(other is inode for other in self.files.values())
        seen = (status.st_mode & 0o7777, status.st_size, status.st_nlink)
        assert seen == (inode.mode, len(inode.content), links), f"{path}: {seen}, {links} links: {self.history[-10:]}"
        assert os.stat(full).st_ino == status.st_ino, path

    def create(self) -> str | None:
        path = self._free()
        if path in self.files:
            return None
        content = self.random.randbytes(self.random.choice((0, 10, 5000)))
        with open(self.root / path, "xb") as file:
            file.write(content)
        os.chmod(self.root / path, 0o644)
        self.files[path] = Inode(content)
        return f"create {path}"

    def rewrite(self) -> str | None:
        if (path := self._taken()) is None:
            return None
        inode = self.files[path]
        at = self.random.randrange(len(inode.content) + 1)
        data = self.random.randbytes(self.random.choice((1, 100)))
        with open(self.root / path, "r+b") as file:
            file.seek(at)
            file.write(data)
        inode.content = inode.content[:at] + data + inode.content[at + len(data) :]
        return f"rewrite {path}"

    def append(self) -> str | None:
        if (path := self._taken()) is None or len(self.files[path].content) > 20_000:
            return None
        data = self.random.randbytes(60)
        with open(self.root / path, "ab") as file:
            file.write(data)
        self.files[path].content += data
        return f"append {path}"

    def truncate(self) -> str | None:
        if (path := self._taken()) is None:
            return None
        inode = self.files[path]
        size = self.random.choice((0, 5, len(inode.content) + 100))
        os.truncate(self.root / path, size)
        inode.content = inode.content[:size] + bytes(max(0, size - len(inode.content)))
        return f"truncate {path} {size}"

    def chmod(self) -> str | None:
        if (path := self._taken()) is None:
            return None
        mode = self.random.choice((0o600, 0o644, 0o755))
        os.chmod(self.root / path, mode)
        self.files[path].mode = mode
        return f"chmod {path} {mode:o}"

    def unlink(self) -> str | None:
        if (path := self._taken()) is None or len(self.files) < 5:
            return None
        os.unlink(self.root / path)
        del self.files[path]
        assert not os.path.lexists(self.root / path), f"{path} is there after unlink"
        return f"unlink {path}"

    def rename(self) -> str | None:
        if (path := self._taken()) is None:
            return None
        new = self._free()
        same = new in self.files and self.files[new] is self.files[path]
        os.rename(self.root / path, self.root / new)
        if not same:
            self.files[new] = self.files.pop(path)
            assert not os.path.lexists(self.root / path), f"{path} is there after its renaming to {new}"
        self._check(new)
        return f"rename {path} {new}"

    def link(self) -> str | None:
        path, new = self._taken(), self._free()
        if path is None or new in self.files:
            return None
        os.link(self.root / path, self.root / new)
        self.files[new] = self.files[path]
        return f"link {path} {new}"

    def by_mmap(self) -> str | None:
        """Write through a shared mapping, and read the same by read(2)."""
        if (path := self._taken()) is None or not self.files[path].content:
            return None
        inode = self.files[path]
        with open(self.root / path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            assert mapping[:] == inode.content, f"{path} mapped is another: {self.history[-10:]}"
            at = self.random.randrange(len(inode.content))
            mapping[at] ^= 0xFF
            inode.content = mapping[:]
            assert os.pread(file.fileno(), len(inode.content), 0) == inode.content, f"{path}: mapping and read differ"
        return f"mmap {path}"

    def read(self) -> None:
        if (path := self._taken()) is not None:
            self._check(path)

    def list(self) -> None:
        """Every name of this process is listed once, and none that isn't there."""
        directory = self.random.choice(("flat", "deep/er", *self.directories))
        mine = f"{self.process}-"
        listed = sorted(name for name in os.listdir(self.root / directory) if name.startswith(mine))
        known = sorted(os.path.basename(path) for path in self.files if os.path.dirname(path) == directory)
        known += sorted(os.path.basename(path) for path in self.directories if os.path.dirname(path) == directory)
        assert listed == sorted(known), f"{directory} lists {listed}, not {known}: {self.history[-10:]}"

    def directory(self) -> str | None:
        """Make a directory, rename it with what is in it, or remove it."""
        choice = self.random.randrange(4)
        number = self.random.randrange(3)
        path = f"flat/{self.process}-dir{number}"
        if path not in self.directories:
            os.mkdir(self.root / path)
            self.directories[path] = True
            return f"mkdir {path}"
        inside = [file for file in self.files if os.path.dirname(file) == path]
        if choice == 0 and not inside:
            os.rmdir(self.root / path)
            del self.directories[path]
            return f"rmdir {path}"
        new = f"deep/er/{self.process}-dir{number + 3}"
        if new in self.directories:
            path, new = new, path + "x" if path + "x" not in self.directories else path
            if new in self.directories:
                return None
        os.rename(self.root / path, self.root / new)
        self.directories[new] = self.directories.pop(path)
        for file in [file for file in self.files if os.path.dirname(file) == path]:
            self.files[f"{new}/{os.path.basename(file)}"] = self.files.pop(file)
        return f"rename {path} {new}"
