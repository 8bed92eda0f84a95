"""The objects of the union that are in use: one node for each, whatever layer its data is in.

A node is found by the inode number shown to users. That number is the one of the object it comes from (the lower
object for what was copied up), so it stays the same over copy-up, rename and remount; numbers of a second and
further filesystem are moved out of the way as kernel overlayfs's xino does.
"""

import os
import stat
from collections.abc import Iterator

from unionfs.core.dialect import OPAQUE, Dialect, Marks
from unionfs.core.index import DirIndex
from unionfs.core.layer import DirPart, Layer
from unionfs.core.work import Work
from unionfs.linux.at import At

_FS_SHIFT = 56
_MAX_FILESYSTEMS = 127
_EXTRA = _MAX_FILESYSTEMS << _FS_SHIFT
_FUSE_ROOT = 1

_MAY_HAVE_COPIES = Marks(impure=True)
_MAY_HAVE_FILES = Marks(impure=True, xwhiteouts=True)

RealId = tuple[int, int]
"""(st_dev, st_ino) of an object of a layer."""


class Node:
    """An object of the union."""

    __slots__ = ("ino", "lookups", "opens", "protection", "real")

    is_dir: bool = False
    changes_unheard: bool = False

    def __init__(self, ino: int, real: RealId) -> None:
        self.ino = ino
        """The number users see; never changes."""
        self.real = real
        """Of the object that holds its metadata now; copy-up changes it."""
        self.lookups = 0
        """How often the carrier's client was told of it, less what it forgot; changed by the carrier and `forget`."""
        self.opens = 0
        """Number of its open handles."""
        self.protection: int | None = None
        """What chattr(1) said of it in a lower layer (immutable.py); None: not asked yet."""


class UpperPart(DirPart):
    """The upper's share in a directory. Its path is that in the union, which renames change."""

    __slots__ = ("dir", "impure")

    def __init__(self, layer: Layer, directory: "Dir") -> None:
        super().__init__(layer, b"")
        self.dir = directory
        self.impure = False
        """Whether it is known to be marked impure."""

    @property
    def path(self) -> bytes:
        return self.dir.path()

    def marks(self, fd: int, dialect: Dialect) -> Marks:
        """Only what its files may be: what else it says is known to the node, and changes."""
        xwhiteouts = self.layer.xwhiteouts or dialect.get(At(fd, b"."), OPAQUE) == b"x"
        return _MAY_HAVE_FILES if xwhiteouts else _MAY_HAVE_COPIES


class Dir(Node):
    """A directory of the union."""

    __slots__ = ("children", "dead", "index", "name", "parent", "parts", "patience")

    is_dir = True

    def __init__(self, ino: int, real: RealId, parent: "Dir | None", name: bytes) -> None:
        super().__init__(ino, real)
        self.parent = parent
        """None for the root alone."""
        self.name = name
        self.parts: list[DirPart] = []
        """Its share in each layer that has one, uppermost first."""
        self.children: dict[bytes, Node] = {}
        """The nodes in use below it, by name."""
        self.index: DirIndex | None = None
        """Its merged listing once it was read."""
        self.patience: int | None = None
        """How many more lookups in its layers are cheaper than reading its listing; None: not estimated yet."""
        self.dead = False
        """Removed, but still somebody's working directory or open."""

    @property
    def upper(self) -> UpperPart | None:
        """The upper's share, if it has one."""
        first = self.parts[0]
        return first if isinstance(first, UpperPart) else None

    @property
    def is_merged(self) -> bool:
        return len(self.parts) > 1

    def path(self) -> bytes:
        """Path from the root of the union, without a leading slash; that of the upper's share too."""
        names = []
        walk = self
        while walk.parent is not None:
            names.append(walk.name)
            walk = walk.parent
        return b"/".join(reversed(names))

    def is_inside(self, other: "Dir") -> bool:
        """Whether this directory is `other` or lies below it."""
        walk: Dir | None = self
        while walk is not None:
            if walk is other:
                return True
            walk = walk.parent
        return False


class CopyUp:
    """A copy-up under way: the temporary in workdir, and the work that fills it."""

    __slots__ = ("lacks_data", "size", "temporary", "work")

    def __init__(self, temporary: bytes, size: int, work: Work, *, lacks_data: bool = False) -> None:
        self.temporary = temporary
        """Empty: the upper's own file, which has metadata alone, is filled in its place."""
        self.size = size
        self.work = work
        self.lacks_data = lacks_data
        """Whether it is a copy of metadata alone."""


class File(Node):
    """Anything that isn't a directory."""

    __slots__ = (
        "changes_unheard",
        "copying",
        "data",
        "fd",
        "handles",
        "index_name",
        "kind",
        "link_name",
        "lower",
        "lower_links",
        "names",
        "nlink_diff",
        "set_id",
        "was_opened",
    )

    def __init__(self, ino: int, real: RealId, kind: int) -> None:
        super().__init__(ino, real)
        self.kind = kind
        """S_IFMT of its mode."""
        self.names: tuple[tuple[Dir, bytes], ...] = ()
        """The names it is known by; lower hard links may have more."""
        self.lower: tuple[DirPart, bytes] | None = None
        """Where it lies while it hasn't been copied up; None means it is in the upper."""
        self.data: tuple[DirPart, bytes] | None = None
        """Where its data lies, if what holds the metadata has none (metacopy): always in a lower layer."""
        self.index_name: bytes | None = None
        """Its name in the index of workdir: a copied-up lower hard link, some of whose names may be lower still."""
        self.link_name: bytes | None = None
        """What a lower object with several links is called in the index of workdir, now or when it is copied up."""
        self.lower_links = 0
        """Links of the lower object it comes from; 0: not known."""
        self.fd = -1
        """Open O_PATH descriptor of an upper object of which no name is known."""
        self.nlink_diff = 0
        """Its links in the union less those of the object that holds its metadata."""
        self.handles: tuple[Handle, ...] = ()
        """Open handles, so that copy-up can turn them to the new file."""
        self.copying: CopyUp | None = None
        self.changes_unheard = False
        """Set by a carrier whose client may write it and not say so: the client isn't to keep its attributes."""
        self.was_opened = False
        """Set by a carrier whose client keeps content: it was opened in its lower layer before, and the client may ask
        for none of it again."""
        self.set_id = True
        """False when it surely has no set-id bit, and no capability: none that a stranger's write takes away."""

    @property
    def is_upper(self) -> bool:
        """Whether its data is in the upper."""
        return self.lower is None and self.data is None


class Handle:
    """An open file: `fd` is what the carrier reads and writes."""

    __slots__ = ("fd", "flags", "is_upper", "node", "privileged")

    def __init__(self, fd: int, node: File, flags: int, *, is_upper: bool, privileged: bool) -> None:
        self.fd = fd
        """Stays the same number over copy-up, which puts the new file behind it. -1: of a lower that isn't opened
        until the carrier's client asks for what is in it (ops/files.open_late)."""
        self.node = node
        self.flags = flags
        """Of the opener's open(2)."""
        self.is_upper = is_upper
        self.privileged = privileged
        """Whether its writes leave set-id bits and capabilities alone (the opener had CAP_FSETID)."""

    @property
    def kill_priv(self) -> bool:
        """Whether set-id bits must be looked at before the next write."""
        return not self.privileged and self.node.set_id


class DirHandle:
    """An open directory."""

    __slots__ = ("node",)

    def __init__(self, node: Dir) -> None:
        self.node = node


class InodeTable:
    """Nodes in use, by number; and the numbering."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._filesystems: dict[int, int] = {}
        self._extra = _EXTRA
        self._moved: dict[RealId, int] = {}

    def __getitem__(self, ino: int) -> Node:
        return self._nodes[ino]

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, ino: int) -> Node | None:
        return self._nodes.get(ino)

    def number(self, real: RealId) -> int:
        """The number to show for the object `real`: its own on the first filesystem, moved on the others."""
        device, ino = real
        filesystem = self._filesystems.setdefault(device, len(self._filesystems))
        number = filesystem << _FS_SHIFT | ino if filesystem else ino  # the same object, where it is the same number
        if ino >> _FS_SHIFT or filesystem >= _MAX_FILESYSTEMS or number == _FUSE_ROOT:
            if real not in self._moved:
                self._moved[real] = self.unique()
            return self._moved[real]
        return number

    def unique(self) -> int:
        """A number that no object has; another one after a remount."""
        self._extra += 1
        return self._extra

    def add(self, node: Node) -> None:
        """Precondition: no node of that number is in the table."""
        self._nodes[node.ino] = node

    def remove(self, node: Node) -> None:
        del self._nodes[node.ino]


_shared: dict[int, int] = {}
"""Devices and kinds: nodes hold one object for each, not one of their own (32 bytes)."""


def real_id(st: os.stat_result) -> RealId:
    device = st.st_dev
    return _shared.setdefault(device, device), st.st_ino


def kind_of(st: os.stat_result) -> int:
    kind = stat.S_IFMT(st.st_mode)
    return _shared.setdefault(kind, kind)
