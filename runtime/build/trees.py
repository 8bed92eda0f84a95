"""What COPY reads: the context, a stage or an image, each as a union that nothing leads out of.

All goes through the union's verbs, which know no path and follow no symlink; symlinks are followed here, name by name,
with the tree's own root for their root. So neither a context's nor a stage's symlinks lead to this machine's files.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from runtime.build.ignore import Ignore
from runtime.build.patterns import is_pattern, name_regex
from runtime.image.tar.pack import OF_THIS_MACHINE
from unionfs.core import inodes, tree
from unionfs.core.model import Caller, StatLike
from unionfs.core.opening import open_union
from unionfs.core.ops import attrs, files, lookup
from unionfs.core.options import UnionOptions
from unionfs.core.work import run_inline

_MOST_LINKS = 40  # as the kernel's own limit
_ROOT = Caller(0, 0)


class Place(NamedTuple):
    """Where a path leads to."""

    path: bytes
    """Relative to the root, without symlinks or dots; of the root itself empty."""
    node: inodes.Node | None
    """None: it isn't there, nor is anything below it."""


class Tree:
    """A read-only tree of layers, uppermost first."""

    def __init__(self, layers: Sequence[str], ignore: Ignore | None = None) -> None:
        """`ignore`: what of a context isn't to be seen; in one, `.wh.` files are files. Raises UnionError."""
        dialect: Literal["auto", "overlay"] = "auto" if ignore is None else "overlay"
        self._union = open_union(UnionOptions(lower=tuple(map(os.fsencode, layers)), dialect=dialect))
        self.ignore = ignore or Ignore()

    def close(self) -> None:
        self._union.close()

    def find(self, path: bytes, *, follow: bool = True) -> Place:
        """Where `path` leads to; a symlink at its end is followed unless told otherwise.

        Raises OSError: ENOTDIR, ELOOP.
        """
        above: list[tuple[bytes, inodes.Node | None]] = [(b"", self._union.root)]
        waiting = _components(path)
        links = 0
        while waiting:
            name = waiting.pop()
            if name == b"..":
                del above[max(1, len(above) - 1) :]
                continue
            node = self._child(above[-1][1], name)
            if isinstance(node, inodes.File) and node.kind == stat.S_IFLNK and (waiting or follow):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = lookup.readlink(self._union, node)
                del above[1 if target.startswith(b"/") else len(above) :]
                waiting += _components(target)
                continue
            above.append((name, node))
        return Place(b"/".join(name for name, _ in above[1:]), above[-1][1])

    def glob(self, pattern: bytes) -> list[bytes]:
        """The paths that match, sorted; a symlink to a directory on the way is followed."""
        found = [b""]
        for part in reversed(_components(pattern)):
            found = [path for above in found for path in self._matches(above, part)]
        return [path for path in found if not self.ignore.excludes(path)]

    def names(self, node: inodes.Node) -> list[bytes]:
        """What is in a directory, sorted."""
        assert isinstance(node, inodes.Dir)
        return sorted(name for _, name in tree.listing(self._union, node).after(0))

    def child(self, node: inodes.Node, name: bytes) -> inodes.Node | None:
        """What is called `name` in a directory; ours until the tree is closed."""
        found = tree.peek(self._union, node, name) if isinstance(node, inodes.Dir) else None
        if found is not None:
            found.lookups += 1
        return found

    def stat(self, node: inodes.Node) -> StatLike:
        return lookup.getattr(self._union, node)[1]

    def readlink(self, node: inodes.Node) -> bytes:
        return lookup.readlink(self._union, node)

    def xattrs(self, node: inodes.Node) -> dict[bytes, bytes]:
        """All that a layer can have."""
        keys = attrs.listxattr(self._union, node)
        return {key: attrs.getxattr(self._union, node, key) for key in keys if key not in OF_THIS_MACHINE}

    @contextmanager
    def open(self, node: inodes.Node) -> Iterator[int]:
        """A descriptor of a file, for reading."""
        handle = run_inline(files.open_file(self._union, node, os.O_RDONLY, _ROOT))
        try:
            yield self._union.handles[handle].fd
        finally:
            files.release(self._union, handle)

    def read(self, path: bytes, most_bytes: int) -> bytes | None:
        """The content of a small file; None if there is none. Raises OSError: EFBIG."""
        node = self.find(path).node
        if node is None or not isinstance(node, inodes.File) or node.kind != stat.S_IFREG:
            return None
        with self.open(node) as fd:
            data = os.pread(fd, most_bytes + 1, 0)
        if len(data) > most_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return data

    def _child(self, parent: inodes.Node | None, name: bytes) -> inodes.Node | None:
        if parent is None:
            return None
        if not isinstance(parent, inodes.Dir):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        return self.child(parent, name)

    def _matches(self, above: bytes, part: bytes) -> list[bytes]:
        if not is_pattern(part):
            return [above + b"/" + part if above else part]
        directory = self.find(above).node
        if not isinstance(directory, inodes.Dir):
            return []
        matching = filter(name_regex(part).fullmatch, self.names(directory))
        return [above + b"/" + name if above else name for name in matching]


def _components(path: bytes) -> list[bytes]:
    """The steps of `path`, the first one last."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
