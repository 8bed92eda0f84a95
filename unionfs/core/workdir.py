"""The work directory: objects are made complete in it, then renamed into the upper at once.

`work/` holds temporaries and is emptied at mount, `index/` the upper inodes of lower hard links: kernel overlayfs's
layout, so that either finds the other's in order. `links/` is ours: how many names of a lower hard link were deleted.
The kernel copies such a file to the index, to write that down; a symlink whose target is the number costs no data.
`guards/` is for upper filesystems that can't rename and leave a whiteout at once.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count

from unionfs.linux.at import At

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = b"links"
_GUARDS = b"guards"
_GUARD_BYTES = 1 << 16
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
_CANT_LINK = (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT)


def open_index(path: bytes) -> int | None:
    """The index of the work directory `path`, whoever uses that; None: nothing is in it. Raises OSError."""
    try:
        fd = os.open(path + b"/index", _OPEN_DIR)
    except FileNotFoundError:  # it was never mounted
        return None
    if os.listdir(fd):
        return fd
    os.close(fd)
    return None


class Workdir:
    """Temporaries and index of one union, by descriptor."""

    def __init__(self, workdir_fd: int, opened: list[int]) -> None:
        """Precondition: nobody else uses the directory; its `work` is emptied. Raises OSError.

        `opened` takes what is open so far, for who fails.
        """
        empty(workdir_fd, b"work")
        self.temporary = _make_dir(workdir_fd, b"work")
        """Descriptor of the directory of temporaries."""
        opened.append(self.temporary)
        _inherit_nothing(At(self.temporary))
        self.index = _make_dir(workdir_fd, b"index")
        """Descriptor of the index."""
        opened.append(self.index)
        self.lost_links = _read_links(workdir_fd)
        """Names deleted of each lower hard link that was not copied up, by its name in the index."""
        self._fd = os.dup(workdir_fd)
        opened.append(self._fd)
        self._origins: dict[int, bytes] | None = None
        """Origins by number of the file in the index, as they were when first asked for."""
        self._numbers = count(1)
        self._patterns: dict[bytes, bytes] = {}
        """Temporaries that are linked to wherever their like is needed, by what they are."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it has open."""
        return self.temporary, self.index, self._fd

    def name(self) -> bytes:
        """A name for a temporary that isn't in use."""
        return b"#%x" % next(self._numbers)

    def temp(self, name: bytes) -> At:
        return At(self.temporary, name)

    def new_file(self, name: bytes) -> int:
        """A new file, open for writing, that `give_name` will call `name`; some filesystems give a name at once."""
        try:
            return os.open(b".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=self.temporary)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
        return self.temp(name).open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def give_name(self, fd: int, name: bytes) -> None:
        """Let the file `fd` of `new_file` be the temporary `name`."""
        with suppress(FileExistsError):
            os.link(At(fd).path, name, dst_dir_fd=self.temporary, follow_symlinks=True)

    def publish(self, name: bytes, target: At) -> None:
        """Move the temporary `name` to `target`, replacing what rename(2) can replace."""
        os.rename(name, target.name, src_dir_fd=self.temporary, dst_dir_fd=target.dirfd)

    def put(self, kind: bytes, target: At, make: Callable[[At], None]) -> None:
        """Have at `target` an object as `make` makes it: all of a `kind` are hard links of one, where there are such.

        That takes a filesystem a fraction of the time it takes to make an inode. Raises OSError of `make`, and of
        link(2).
        """
        pattern = self._patterns.get(kind)
        if pattern is not None:
            try:
                _link(self.temporary, pattern, target.dirfd, target.name)
                return
            except OSError as error:
                if error.errno not in _CANT_LINK:
                    raise
                self.discard(self._patterns.pop(kind))
        make(target)
        name = self.name()
        with suppress(OSError):  # it is there; without the link the next one is an inode of its own
            _link(target.dirfd, target.name, self.temporary, name)
            self._patterns[kind] = name

    @contextmanager
    def guarding(self, *paths: bytes) -> Iterator[None]:
        """After a crash inside, those of the upper's `paths` at which there is nothing become whiteouts. OSError: none
        of it happened."""
        with suppress(FileExistsError):
            os.mkdir(_GUARDS, 0o700, dir_fd=self._fd)
        name = _GUARDS + b"/" + self.name()
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        try:
            os.write(fd, b"\0".join(paths))
        finally:
            os.close(fd)
        try:
            yield
        finally:
            with suppress(OSError):  # whoever is guarded in vain is there, or is deleted
                os.unlink(name, dir_fd=self._fd)

    def guards(self) -> list[list[bytes]]:
        """The paths that a crash left guarded."""
        try:
            fd = os.open(_GUARDS, _OPEN_DIR, dir_fd=self._fd)
        except OSError:
            return []
        try:
            return [_read(fd, name).split(b"\0") for name in os.listdir(fd)]
        finally:
            os.close(fd)

    def drop_guards(self) -> None:
        """Forget them."""
        empty(self._fd, _GUARDS)

    def origin_of(self, ino: int) -> bytes | None:
        """The origin of the upper's hard link of that number, by its name in the index: for uppers without xattrs."""
        if self._origins is None:
            self._origins = {}
            for name in os.listdir(self.index):
                with suppress(ValueError):  # not the name of an origin
                    self._origins[os.stat(name, dir_fd=self.index).st_ino] = bytes.fromhex(name)
        return self._origins.get(ino)

    def lose_links(self, index_name: bytes, lost: int) -> None:
        """Note that `lost` names of the lower hard link are deleted; 0: it is counted in the index from now on.

        Never fails: the name is gone already, and only a number would be wrong after the next mount.
        """
        known = self.lost_links.pop(index_name, 0)
        entry = At(self._fd, _LINKS + b"/" + index_name)
        with suppress(OSError):
            if not lost:
                if known:
                    os.unlink(entry.name, dir_fd=entry.dirfd)
                return
            self.lost_links[index_name] = lost
            place = self.temp(self.name()) if known else entry
            self.put(b"%d lost" % lost, place, lambda place: self._make_number(lost, place))
            if known:
                self.publish(place.name, entry)

    def _make_number(self, number: int, place: At) -> None:
        with suppress(FileExistsError):
            os.mkdir(_LINKS, 0o700, dir_fd=self._fd)
        os.symlink(b"%d" % number, place.name, dir_fd=place.dirfd)

    def discard(self, name: bytes) -> None:
        """Remove the temporary `name`, whatever it is. Never fails: the next mount removes what is left."""
        with suppress(OSError):
            remove(self.temporary, name)

    def close(self) -> None:
        for pattern in self._patterns.values():
            self.discard(pattern)
        self._patterns.clear()
        for fd in self.descriptors:
            os.close(fd)


def _link(source: int, name: bytes, target: int, newname: bytes) -> None:
    os.link(name, newname, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def _read(dirfd: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
    try:
        return os.read(fd, _GUARD_BYTES)
    finally:
        os.close(fd)


def _read_links(workdir_fd: int) -> dict[bytes, int]:
    try:
        fd = os.open(_LINKS, _OPEN_DIR, dir_fd=workdir_fd)
    except OSError:
        return {}
    try:
        names = [os.fsencode(name) for name in os.listdir(fd)]
        return {name: int(os.readlink(name, dir_fd=fd)) for name in names}
    except (OSError, ValueError):
        return {}  # only numbers of links depend on it
    finally:
        os.close(fd)


def _make_dir(parent: int, name: bytes) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, _OPEN_DIR, dir_fd=parent)


def _inherit_nothing(directory: At) -> None:
    """Let what is made in `directory` get no ACL, and no group, from it. Kernel: ovl_workdir_create() does it, too."""
    for key in (b"system.posix_acl_default", b"system.posix_acl_access"):
        try:
            directory.removexattr(key)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                raise
    if directory.stat().st_mode & stat.S_ISGID:
        directory.chmod(0o700)


def remove(dirfd: int, name: bytes) -> None:
    """Remove `name` and everything below it."""
    try:
        os.unlink(name, dir_fd=dirfd)
    except IsADirectoryError:
        with suppress(OSError):  # who may not write it may not empty it
            os.chmod(name, 0o700, dir_fd=dirfd)
        empty(dirfd, name)
        os.rmdir(name, dir_fd=dirfd)


def empty(dirfd: int, name: bytes) -> None:
    """Remove everything below the directory `name`; nothing to do if it is absent or no directory."""
    try:
        fd = os.open(name, _OPEN_DIR, dir_fd=dirfd)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for child in map(os.fsencode, os.listdir(fd)):
            remove(fd, child)
    finally:
        os.close(fd)
