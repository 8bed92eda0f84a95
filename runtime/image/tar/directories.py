"""The directories of a layer that is being unpacked, by descriptor; no name of a member is ever followed out of it."""

import errno
import os
import stat
from collections import OrderedDict

from runtime.image.errors import Corrupt
from runtime.image.tar.names import check_directories, show
from runtime.trees import remove_tree
from unionfs.linux.fsops import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_MOST_OPEN = 64


class Directories:
    """Descriptors (O_PATH) of the directories used last, all below `root`."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.implied: set[bytes] = set()
        """Those that were made because something is in them, and of which the archive hasn't said anything."""
        self.through_links = True
        """Whether symlinks of the layer on the way are followed, inside it."""
        self.aliases: dict[bytes, bytes] = {}
        """Where those of `get` really are that symlinks lead to."""
        self._open: OrderedDict[bytes, int] = OrderedDict({b"": root})

    def close(self) -> None:
        for path, fd in self._open.items():
            if path:
                os.close(fd)
        self._open = OrderedDict({b"": self.root})

    def get(self, path: bytes, *, make: bool = True) -> int:
        """The descriptor of a directory, valid until the next call; made if it is missing and `make`.

        Raises Corrupt (something on the way is no directory), FileNotFoundError.
        """
        fd = self._open.get(path)
        if fd is not None:
            return fd
        fd = self._find(path, make)
        self._open[path] = fd
        if len(self._open) > _MOST_OPEN:
            self._forget_oldest()
        return fd

    def forget(self) -> None:
        """To be called when a directory or a symlink was replaced."""
        self.close()
        self.aliases.clear()

    def _find(self, path: bytes, make: bool) -> int:
        try:
            return openat2(self.root, path, _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno == errno.ENOENT and make:
                return self._make(path)
            if error.errno == errno.ELOOP and self.through_links:
                return self._follow(path, make)
            raise _refusal(error, path) from None

    def _make(self, path: bytes) -> int:
        """Make the last component, and those above as needed."""
        check_directories(path)
        missing = []
        above = path
        while True:
            above, _, name = above.rpartition(b"/")
            missing.append(name)
            try:
                parent = os.dup(self.get(above, make=False))
                break
            except FileNotFoundError:
                continue
        for name in reversed(missing):
            above = above + b"/" + name if above else name
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
                os.chmod(name, 0o755, dir_fd=parent)
                fd = openat2(parent, name, _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
            except FileExistsError:  # a symlink that leads nowhere
                raise Corrupt(f"archive: a member's name goes through a broken symlink: {show(path)}") from None
            finally:
                os.close(parent)
            self.implied.add(above)
            parent = fd
        return parent

    def _follow(self, path: bytes, make: bool) -> int:
        """Through symlinks of the layer, which has itself for a root then: as it will be for a container."""
        try:
            fd = openat2(self.root, path, _DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            raise _refusal(error, path) from None
        else:
            self.aliases[path] = _path_of(fd)[len(_path_of(self.root)) :].lstrip(b"/")
            return fd
        above, _, name = path.rpartition(b"/")
        self.get(above)
        real = (self.aliases.get(above, above) + b"/" + name).lstrip(b"/")
        if real == path:
            raise Corrupt(f"archive: a member's name goes through a broken symlink: {show(path)}")
        self.aliases[path] = real
        return self._find(real, make)

    def _forget_oldest(self) -> None:
        path = next(path for path in self._open if path)
        os.close(self._open.pop(path))


def remove(directory: int, name: bytes) -> bool:
    """Remove what is called so, a directory with all below it; whether it was a directory or a symlink."""
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        remove_tree(os.fsdecode(b"/proc/self/fd/%d/%s" % (directory, name)))
        return True
    os.unlink(name, dir_fd=directory)
    return stat.S_ISLNK(mode)


def _path_of(fd: int) -> bytes:
    return os.readlink(b"/proc/self/fd/%d" % fd)


def _refusal(error: OSError, path: bytes) -> Exception:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
        return Corrupt(f"archive: a member's name goes through what is no directory of the layer: {show(path)}")
    if error.errno == errno.ENAMETOOLONG:
        return Corrupt(f"archive: a member's name is too long: {show(path[:40])}…")
    return error
