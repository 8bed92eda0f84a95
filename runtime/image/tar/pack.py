"""A layer of what a container changed, from its upper alone; and an archive of a whole tree.

The same tree gives the same bytes: names in order, a directory before what is in it, whiteouts before their siblings,
headers without anything of this machine. Nothing is read but the directories that the upper has, and where other names
of what it changed may be (core.changes).
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence

from runtime.image.tar.members import BLOCK, CHAR, DIRECTORY, FILE, KINDS, LINK, SYMLINK, Member
from runtime.image.tar.writer import TarWriter
from runtime.trees import have_same_attributes
from unionfs.core import inodes, tree
from unionfs.core.changes import changes
from unionfs.core.dialect import WH_PREFIX
from unionfs.core.model import Caller, StatLike
from unionfs.core.opening import open_union
from unionfs.core.ops import attrs, files, lookup
from unionfs.core.options import UnionOptions
from unionfs.core.union import Union
from unionfs.core.work import run_inline

_CHUNK_BYTES = 1 << 20
_ROOT = Caller(0, 0)
OF_THIS_MACHINE = (b"security.selinux", b"security.ima", b"security.evm")
"""Labels that its policy or its key gave."""

_Write = Callable[[bytes], object]


def pack_changes(
    upper: str, workdir: str, lower: Sequence[str], write: _Write, *, root: str = "", newest_ns: int | None = None
) -> None:
    """Write the layer that `upper`, written with `workdir`, makes over `lower` (uppermost first).

    It has all names of the files that it changes. No time in it is later than `newest_ns`.

    With `root`, the directory that the root of `lower` is like, the root is in it if its owner, mode or xattrs differ.
    Raises UnionError, OSError.
    """
    options = _options([upper, *lower], workdir)
    differences = changes(options.lower[0], os.fsencode(workdir), options.lower[1:], "auto")
    found = sorted(((change.path[1:], change.kind == "D") for change in differences), key=_order)
    if root and not have_same_attributes(root, upper):
        found.insert(0, (b"", False))
    _pack(options, found, write, newest_ns)


def pack_tree(layers: Sequence[str], write: _Write, workdir: str = "") -> None:
    """Write all that a union of `layers` (uppermost first) shows; `workdir`: with which the uppermost was written.

    Raises UnionError, OSError.
    """
    _pack(_options(layers, workdir), None, write)


def _options(layers: Sequence[str], workdir: str) -> UnionOptions:
    lower_workdir = os.fsencode(workdir) if workdir else None
    return UnionOptions(lower=tuple(map(os.fsencode, layers)), lower_workdir=lower_workdir, dialect="auto")


def _order(change: tuple[bytes, bool]) -> list[tuple[bool, bytes]]:
    path, is_deleted = change
    above, _, name = path.rpartition(b"/")
    return [*((True, part) for part in above.split(b"/") if part), (not is_deleted, name)]


def _pack(
    options: UnionOptions, found: Iterable[tuple[bytes, bool]] | None, write: _Write, newest_ns: int | None = None
) -> None:
    union = open_union(options)
    try:
        packer = _Packer(union, TarWriter(write), newest_ns)
        for path, is_deleted in packer.everything() if found is None else found:
            packer.add(path, is_deleted)
        packer.close()
    finally:
        union.close()


class _Packer:
    def __init__(self, union: Union, archive: TarWriter, newest_ns: int | None) -> None:
        self._newest_ns = newest_ns
        self._union = union
        self._archive = archive
        self._names: dict[inodes.RealId, bytes] = {}
        """Of files with several names, the one that was written."""
        self._parent: tuple[bytes, inodes.Node] = (b"", union.root)

    def everything(self) -> Iterator[tuple[bytes, bool]]:
        """Every path of the union, in order."""
        yield b"", False
        waiting: list[tuple[bytes, inodes.Dir]] = [(b"", self._union.root)]
        while waiting:
            path, directory = waiting.pop()
            if path:
                yield path, False
            below = []
            for name in sorted(name for _, name in tree.listing(self._union, directory).after(0)):
                node = tree.child(self._union, directory, name)
                child = path + b"/" + name if path else name
                if isinstance(node, inodes.Dir):
                    node.lookups += 1  # ours until the end
                    below.append((child, node))
                else:
                    yield child, False
            waiting += reversed(below)

    def add(self, path: bytes, is_deleted: bool) -> None:
        above, _, name = path.rpartition(b"/")
        if is_deleted:
            whiteout = above + b"/" + WH_PREFIX + name if above else WH_PREFIX + name
            self._archive.add(Member(FILE, whiteout, 0, 0, 0, 0, 0, 0, b"", (0, 0), {}, None))
            return
        node = self._find(path)
        _, st = lookup.getattr(self._union, node)
        if stat.S_IFMT(st.st_mode) not in KINDS:
            return  # a socket: who listened is gone
        member = self._member(node, path, st)
        if member.kind != FILE or not member.size:
            self._archive.add(member)
            return
        handle = run_inline(files.open_file(self._union, node, os.O_RDONLY, _ROOT))
        try:
            self._file(member, self._union.handles[handle].fd)
        finally:
            files.release(self._union, handle)

    def close(self) -> None:
        self._archive.close()

    def _member(self, node: inodes.Node, path: bytes, st: StatLike) -> Member:
        kind = KINDS[stat.S_IFMT(st.st_mode)]
        if kind == DIRECTORY:
            path = path + b"/" if path else b"./"
        target = lookup.readlink(self._union, node) if kind == SYMLINK else b""
        if isinstance(node, inodes.File) and (st.st_nlink > 1 or node.index_name is not None):
            first = self._names.setdefault(node.real, path)  # two numbers may mean it: the upper's, and the lower one's
            if first != path:
                kind, target = LINK, first
        device = (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in (CHAR, BLOCK) else (0, 0)
        size = st.st_size if kind == FILE else 0
        mode = stat.S_IMODE(st.st_mode)
        xattrs = self._xattrs(node) if kind != LINK else {}
        mtime_ns = st.st_mtime_ns if self._newest_ns is None else min(st.st_mtime_ns, self._newest_ns)
        return Member(kind, path, mode, st.st_uid, st.st_gid, size, mtime_ns, 0, target, device, xattrs, None)

    def _xattrs(self, node: inodes.Node) -> dict[bytes, bytes]:
        keys = attrs.listxattr(self._union, node)
        return {key: attrs.getxattr(self._union, node, key) for key in keys if key not in OF_THIS_MACHINE}

    def _file(self, member: Member, fd: int) -> None:
        """A file that shrinks or grows meanwhile gets the size that it had."""
        self._archive.add(member)
        left, offset = member.size, 0
        while left:
            data = os.pread(fd, min(left, _CHUNK_BYTES), offset) or bytes(min(left, _CHUNK_BYTES))
            self._archive.content(data)
            left, offset = left - len(data), offset + len(data)

    def _find(self, path: bytes) -> inodes.Node:
        above, _, name = path.rpartition(b"/")
        if above != self._parent[0]:
            node: inodes.Node = self._union.root
            for part in filter(None, above.split(b"/")):
                node, _ = lookup.lookup(self._union, node, part)
            node.lookups += 1  # ours until the next
            lookup.forget(self._union, self._parent[1], 1)
            self._parent = above, node
        return lookup.lookup(self._union, self._parent[1], name)[0] if name else self._union.root
