"""The work directory: objects are made complete in it, then renamed into the upper at once.

`work/` holds temporaries and is emptied at mount, `index/` the upper inodes of lower hard links: kernel overlayfs's
layout, so that either finds the other's in order. `links/` is ours: how many names of a lower hard link were deleted.
The kernel copies such a file to the index, to write that down; a symlink whose target is the number costs no data.
"""

import errno
import os
import stat
from contextlib import suppress
from itertools import count

from unionfs.linux import fsops
from unionfs.linux.at import At

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WHITEOUT_DEVICE = 0  # makedev(0, 0)
_LINKS = b"links"


class Workdir:
    """Temporaries and index of one union, by descriptor."""

    def __init__(self, workdir_fd: int) -> None:
        """Precondition: nobody else uses the directory; its `work` is emptied. Raises OSError."""
        empty(workdir_fd, b"work")
        self.temporary = _make_dir(workdir_fd, b"work")
        """Descriptor of the directory of temporaries."""
        self.index = _make_dir(workdir_fd, b"index")
        """Descriptor of the index."""
        self.lost_links = _read_links(workdir_fd)
        """Names deleted of each lower hard link that was not copied up, by its name in the index."""
        self._fd = os.dup(workdir_fd)
        self._numbers = count(1)
        self._whiteout: bytes | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it has open."""
        return self.temporary, self.index, self._fd

    def name(self) -> bytes:
        """A name for a temporary that isn't in use."""
        return b"#%x" % next(self._numbers)

    def temp(self, name: bytes) -> At:
        return At(self.temporary, name)

    def publish(self, name: bytes, target: At) -> None:
        """Move the temporary `name` to `target`, replacing what rename(2) can replace."""
        os.rename(name, target.name, src_dir_fd=self.temporary, dst_dir_fd=target.dirfd)

    def whiteout(self, target: At, *, replace: bool) -> None:
        """Make `target` a whiteout: char 0:0, all of a union hard links of one inode.

        `replace`: a file (not a directory) of the upper is there and goes at the same moment.
        Raises OSError: EEXIST (not `replace`, and something is there), EPERM (this upper can't hold devices).
        Kernel: fs/overlayfs/dir.c:ovl_whiteout().
        """
        if not replace:
            self._link_whiteout(target)
            return
        name = self.name()
        self._link_whiteout(self.temp(name))
        try:
            self.publish(name, target)
        except OSError:
            os.unlink(name, dir_fd=self.temporary)
            raise

    def _link_whiteout(self, target: At) -> None:
        if self._whiteout is not None:
            try:
                os.link(self._whiteout, target.name, src_dir_fd=self.temporary, dst_dir_fd=target.dirfd)
                return
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT):
                    raise
                self.discard(self._whiteout)
                self._whiteout = None
        os.mknod(target.name, stat.S_IFCHR, _WHITEOUT_DEVICE, dir_fd=target.dirfd)
        name = self.name()
        try:
            os.link(target.name, name, src_dir_fd=target.dirfd, dst_dir_fd=self.temporary)
            self._whiteout = name
        except OSError as error:
            if error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
                raise

    def remove_dir(self, target: At, *, whiteout: bool) -> None:
        """Take the directory `target` of the upper, and what is left in it, away at one moment.

        It holds nothing visible, perhaps whiteouts. `whiteout`: a whiteout takes its place.
        """
        name = self.name()
        if whiteout:
            self._link_whiteout(self.temp(name))
            try:
                fsops.renameat2(self.temporary, name, target.dirfd, target.name, fsops.RENAME_EXCHANGE)
            except OSError:
                self.discard(name)
                raise
        else:
            os.rename(target.name, name, src_dir_fd=target.dirfd, dst_dir_fd=self.temporary)
        self.discard(name)

    def lose_links(self, index_name: bytes, lost: int) -> None:
        """Note that `lost` names of the lower hard link are deleted; 0: it is counted in the index from now on.

        Never fails: the name is gone already, and only a number would be wrong after the next mount.
        """
        if self.lost_links.pop(index_name, 0):
            with suppress(OSError):
                os.unlink(_LINKS + b"/" + index_name, dir_fd=self._fd)
        if lost:
            self.lost_links[index_name] = lost
            with suppress(OSError):
                with suppress(FileExistsError):
                    os.mkdir(_LINKS, 0o700, dir_fd=self._fd)
                os.symlink(b"%d" % lost, _LINKS + b"/" + index_name, dir_fd=self._fd)

    def discard(self, name: bytes) -> None:
        """Remove the temporary `name`, whatever it is. Never fails: the next mount removes what is left."""
        with suppress(OSError):
            remove(self.temporary, name)

    def close(self) -> None:
        if self._whiteout is not None:
            self.discard(self._whiteout)
            self._whiteout = None
        for fd in self.descriptors:
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


def remove(dirfd: int, name: bytes) -> None:
    """Remove `name` and everything below it."""
    try:
        os.unlink(name, dir_fd=dirfd)
    except IsADirectoryError:
        empty(dirfd, name)
        os.rmdir(name, dir_fd=dirfd)


def empty(dirfd: int, name: bytes) -> None:
    """Remove everything below the directory `name`; nothing to do if it is absent or no directory."""
    try:
        fd = os.open(name, _OPEN_DIR, dir_fd=dirfd)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for child in os.listdir(b"/proc/self/fd/%d" % fd):
            remove(fd, child)
    finally:
        os.close(fd)
