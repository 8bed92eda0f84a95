"""A layer: one directory tree behind a descriptor of its root; and the directories of it that are in use.

Layers are entered by descriptor alone, opened before the union is mounted. Paths below the root are resolved by
openat2 without symlinks, so nothing in a layer leads out of it.
"""

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator

from unionfs.core.dialect import WHITEOUT, Dialect, Marks
from unionfs.linux import fsops
from unionfs.linux.at import At

_OPEN_DIR = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX = 4096  # with the zero byte at its end
_INSIDE = fsops.RESOLVE_BENEATH | fsops.RESOLVE_NO_SYMLINKS | fsops.RESOLVE_NO_MAGICLINKS


class Layer:
    """One layer of the union."""

    __slots__ = ("index", "is_bottom", "is_id_mapped", "is_upper", "override", "path", "root", "xwhiteouts")

    def __init__(
        self, index: int, path: bytes, root: int, *, is_upper: bool = False, is_bottom: bool = False
    ) -> None:
        self.index = index
        """0 is the upper, 1 the uppermost lower."""
        self.path = path
        """As the user gave it; for messages only."""
        self.root = root
        """O_PATH descriptor, open as long as the union is."""
        self.is_upper = is_upper
        self.is_bottom = is_bottom
        """Whether nothing is below, so that what it says of layers below is nothing."""
        self.xwhiteouts = False
        """Whether whiteouts anywhere in it may be files with an xattr: of an upper that can't hold others."""
        self.is_id_mapped = False
        """Whether its mount maps ids: its objects' are those that users see."""
        self.override = b""
        """The xattr that holds its objects' owner and mode; empty: they have them themselves."""

    def open_dir(self, path: bytes) -> int:
        """Open the directory `path` of this layer, O_PATH. Raises OSError: ENOENT, ENOTDIR, ELOOP, EXDEV."""
        if not path:
            return os.open(b".", _OPEN_DIR, dir_fd=self.root)
        fd = self.root
        for piece in _pieces(path):
            try:
                deeper = self._enter(fd, piece)
            finally:
                if fd != self.root:
                    os.close(fd)
            fd = deeper
        return fd

    def _enter(self, dirfd: int, path: bytes) -> int:
        """Open the directory `path` below `dirfd`."""
        resolve = _INSIDE | fsops.RESOLVE_NO_XDEV if self.is_upper else _INSIDE
        try:
            return fsops.openat2(dirfd, path, _OPEN_DIR, resolve)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
        return self._walk(dirfd, path)

    @staticmethod
    def _walk(dirfd: int, path: bytes) -> int:
        """`_enter` before Linux 5.6: name by name, each without following a symlink."""
        fd = os.open(b".", _OPEN_DIR, dir_fd=dirfd)
        for name in path.split(b"/"):
            try:
                deeper = os.open(name, _OPEN_DIR, dir_fd=fd)
            finally:
                os.close(fd)
            fd = deeper
        return fd


def _pieces(path: bytes) -> Iterator[bytes]:
    """`path` in pieces that system calls take: directories may be deeper than any path."""
    while len(path) >= _PATH_MAX:
        piece = path[: path.rindex(b"/", 0, _PATH_MAX)]
        yield piece
        path = path[len(piece) + 1 :]
    yield path


class DirPart:
    """The share of one layer in a directory of the union."""

    __slots__ = ("_marks", "fd", "layer", "lower_path")

    def __init__(self, layer: Layer, path: bytes, marks: Marks | None = None) -> None:
        self.layer = layer
        self.lower_path = path
        self.fd = -1
        """Open O_PATH descriptor, or -1; changed by DirFds alone."""
        self._marks = marks

    @property
    def path(self) -> bytes:
        """Path from the layer's root. Lower layers don't change, so it is kept; the upper's part overrides this."""
        return self.lower_path

    def marks(self, fd: int, dialect: Dialect) -> Marks:
        """What this directory (open as `fd`) says of layers below; read once."""
        if self._marks is None:
            self._marks = dialect.marks(At(fd, b"."))
        return self._marks

    def lacks_data(self, place: At, st: os.stat_result, dialect: Dialect) -> bool:
        """Whether the file at `place`, a name in this directory, has its data in a lower layer.

        What has any blocks is only asked where copies may be: they may be those of its xattrs.
        """
        if self.layer.is_bottom or (st.st_blocks and not self.marks(place.dirfd, dialect).impure):
            return False
        return dialect.lacks_data(place, st)

    def is_whiteout(self, place: At, st: os.stat_result, dialect: Dialect) -> bool:
        """Whether the object at `place`, a name in this directory, is a whiteout.

        Kernel: fs/overlayfs/util.c:ovl_path_is_whiteout().
        """
        if stat.S_ISCHR(st.st_mode):
            return st.st_rdev == 0
        return (
            stat.S_ISREG(st.st_mode)
            and st.st_size == 0
            and self.marks(place.dirfd, dialect).xwhiteouts
            and dialect.get(place, WHITEOUT) is not None
        )


class DirFds:
    """Open descriptors of directories, at most `limit`; the least recently used is closed first.

    A descriptor stays valid until `limit` others were asked for: fetch it anew after each yield.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._recent: OrderedDict[DirPart, None] = OrderedDict()

    def fd(self, part: DirPart) -> int:
        """The open descriptor of `part`. Raises OSError as Layer.open_dir."""
        if part.fd >= 0:
            if part in self._recent:
                self._recent.move_to_end(part)
            return part.fd
        part.fd = part.layer.open_dir(part.path)
        self._recent[part] = None
        if len(self._recent) > self._limit:
            oldest, _ = self._recent.popitem(last=False)
            self._shut(oldest)
        return part.fd

    def pin(self, part: DirPart) -> None:
        """Keep the descriptor of `part` open until `drop`: its directory loses its name."""
        self.fd(part)
        self._recent.pop(part, None)

    def drop(self, part: DirPart) -> None:
        """Close the descriptor of `part`."""
        self._recent.pop(part, None)
        self._shut(part)

    def take(self, part: DirPart) -> int:
        """The open descriptor of `part`, which is the caller's from now on."""
        self._recent.pop(part, None)
        fd, part.fd = part.fd, -1
        return fd

    def close(self) -> None:
        """Close all but the pinned ones."""
        while self._recent:
            self._shut(self._recent.popitem()[0])

    @staticmethod
    def _shut(part: DirPart) -> None:
        if part.fd >= 0:
            os.close(part.fd)
            part.fd = -1
