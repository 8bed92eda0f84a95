"""An archive becomes the directory of a layer: exactly, quickly, and nowhere else.

A member's name is taken apart (names.py) and walked from descriptor to descriptor below the layer's root
(directories.py); the object is made anew under its last component, never opened if it was there. Whiteouts and opaque
marks become what kernel overlayfs has for them, whatever their place in the archive: they are about other layers. So do
times of directories, which come last. The driver's own marks are nobody's to set.
"""

import errno
import os
import stat
from collections.abc import Callable

from runtime import marks
from runtime.image.errors import Corrupt
from runtime.image.tar.directories import Directories, remove
from runtime.image.tar.limits import DEFAULT_LIMITS, Limits
from runtime.image.tar.members import BLOCK, CHAR, DIRECTORY, FIFO, FILE, LINK, SYMLINK, Member
from runtime.image.tar.names import Place, is_of_aufs, place_of, show, whiteout_of
from runtime.image.tar.owners import Owners, owners_here
from runtime.image.tar.reader import TarReader
from runtime.image.tar.unpacked import Unpacked
from unionfs.core.dialect import TRUSTED, USER
from unionfs.core.override import HIDDEN
from unionfs.linux.at import At

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MARKS = (TRUSTED, USER, b"user.fuseoverlayfs.", *HIDDEN)
_INHERITED = b"system.posix_acl_default"
"""What is made in a directory that has it gets an ACL: it comes last, too."""
_MOST_ID = (1 << 32) - 2
_NODES = (CHAR, BLOCK, FIFO)


def unpack(
    read: Callable[[], bytes], root: int, *, limits: Limits = DEFAULT_LIMITS, owners: Owners | None = None
) -> Unpacked:
    """Unpack the archive that comes out of `read` into the empty directory `root`.

    Raises Corrupt, and OSError of the filesystem; the directory is of no use then.
    """
    unpacker = _Unpacker(root, limits, owners or owners_here())
    try:
        return unpacker.run(TarReader(read))
    finally:
        unpacker.directories.close()


class _Unpacker:
    def __init__(self, root: int, limits: Limits, owners: Owners) -> None:
        self.directories = Directories(root)
        self._owners = owners
        self._limits = limits
        self._attributes: dict[bytes, Member] = {}
        """Of directories, by path."""
        self._whiteouts: dict[Place, None] = {}
        self._opaque: dict[bytes, None] = {}
        self._links: dict[Place, Place] = {}

    def run(self, archive: TarReader) -> Unpacked:
        self._owners.begin(self.directories.root)
        count = 0
        for member in archive:
            count += 1
            self._limits.check_members(count)
            try:
                self._member(member, archive)
            except (OverflowError, ValueError):
                raise Corrupt(f"archive: {show(member.name)}: a number that no file can have") from None
        self._finish()
        implied = self.directories.implied - self._attributes.keys()
        if b"" not in self._attributes:
            implied.add(b"")
        links = [(name.path, target.path) for name, target in self._links.items()]
        return Unpacked(sorted(implied), links, count, len(self._whiteouts) + len(self._opaque))

    def _member(self, member: Member, archive: TarReader) -> None:
        place = place_of(member.name)
        if member.uid > _MOST_ID or member.gid > _MOST_ID or member.uid < 0 or member.gid < 0:
            raise ValueError
        if not place.name:
            self._root(member)
            return
        if b".wh." in place.path:
            if is_of_aufs(place):
                return
            deleted = whiteout_of(place)
            if deleted is not None:
                self._whiteout(place, deleted)
                return
        if self._links:
            self._links.pop(place, None)
        directory = self.directories.get(place.directory)
        if self.directories.aliases:
            place = place._replace(directory=self.directories.aliases.get(place.directory, place.directory))
        if member.kind == DIRECTORY:
            self._directory(directory, place, member)
            return
        try:
            self._make(directory, place, member, archive)
        except FileExistsError:
            if member.kind == LINK and place_of(member.target) == place:
                return
            directory = self._replace(place)
            self._make(directory, place, member, archive)

    def _make(self, directory: int, place: Place, member: Member, archive: TarReader) -> None:
        """Raises FileExistsError before anything is read."""
        if member.kind == FILE:
            self._file(directory, place.name, member, archive)
        elif member.kind == LINK:
            self._link(directory, place, member)
        elif member.kind == SYMLINK:
            if not member.target or b"\0" in member.target:
                raise Corrupt(f"archive: {show(member.name)} is a symlink to nothing")
            os.symlink(member.target, place.name, dir_fd=directory)
            self._owners.give_link(directory, place.name, member)
            self._rest(At(directory, place.name), member)
        else:
            try:
                self._owners.make_node(directory, place.name, member)
            except PermissionError as error:  # root of another engine's container
                error.filename = f"device {show(place.path)}"
                raise
            self._rest(At(directory, place.name), member)

    def _file(self, directory: int, name: bytes, member: Member, archive: TarReader) -> None:
        fd = os.open(name, _NEW, 0o600, dir_fd=directory)
        try:
            if member.sparse is not None:
                _write_sparse(fd, member, archive)
            elif member.size:
                _write(fd, archive)
            self._owners.give(At(fd), member)
            if member.xattrs:
                self._xattrs(At(fd), member)
            os.utime(fd, ns=(member.atime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _directory(self, directory: int, place: Place, member: Member) -> None:
        try:
            os.mkdir(place.name, 0o700, dir_fd=directory)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(place.name, dir_fd=directory, follow_symlinks=False).st_mode):
                directory = self._replace(place)
                os.mkdir(place.name, 0o700, dir_fd=directory)
        self._dress(At(directory, place.name), member)
        self._attributes[place.path] = member

    def _root(self, member: Member) -> None:
        if member.kind != DIRECTORY:
            raise Corrupt("archive: its root would be replaced by what is no directory")
        self._dress(At(self.directories.root), member)
        self._attributes[b""] = member

    def _dress(self, place: At, member: Member) -> None:
        """Attributes of a directory, except for its times."""
        self._owners.give(place, member)
        if member.xattrs:
            self._xattrs(place, member)

    def _link(self, directory: int, place: Place, member: Member) -> None:
        target = place_of(member.target)
        if not target.name:
            raise Corrupt(f"archive: {show(member.name)} is a hard link to a directory")
        if target == place:
            os.stat(place.name, dir_fd=directory, follow_symlinks=False)
            raise FileExistsError
        directory = os.dup(directory)
        try:
            source = self.directories.get(target.directory, make=False)
            os.link(target.name, place.name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            self._links[place] = target  # perhaps of a lower layer: for others to find out
        except PermissionError:
            raise Corrupt(f"archive: {show(member.name)} is a hard link to a directory") from None
        finally:
            os.close(directory)

    def _whiteout(self, place: Place, deleted: bytes) -> None:
        if deleted:
            self._whiteouts[Place(place.directory, deleted)] = None
        else:
            self._opaque[place.directory] = None

    def _replace(self, place: Place) -> int:
        """Remove what an earlier member of the same name made; the directory it was in."""
        directory = self.directories.get(place.directory)
        if not remove(directory, place.name):
            return directory
        below = place.path + b"/"
        for said in (self._attributes, self._opaque):
            for path in [path for path in said if (path + b"/").startswith(below)]:
                del said[path]
        for waiting in (self._whiteouts, self._links):
            for inside in [inside for inside in waiting if inside.path.startswith(below)]:
                del waiting[inside]
        self.directories.implied = {path for path in self.directories.implied if not (path + b"/").startswith(below)}
        self.directories.forget()
        return self.directories.get(place.directory)

    def _rest(self, place: At, member: Member) -> None:
        """Of what has no descriptor."""
        if member.xattrs:
            self._xattrs(place, member)
        os.utime(place.name, ns=(member.atime_ns, member.mtime_ns), dir_fd=place.dirfd, follow_symlinks=False)

    def _xattrs(self, place: At, member: Member, *, inherited: bool = False) -> None:
        """Those that this filesystem and this user may have; marks of the driver's are left out."""
        for key, value in member.xattrs.items():
            if key.startswith(_MARKS) or (key == _INHERITED) != inherited:
                continue
            try:
                place.setxattr(key, value)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP or (error.errno == errno.EPERM and _is_refusable(key, member)):
                    continue
                raise

    def _finish(self) -> None:
        self.directories.forget()
        self.directories.through_links = False
        for path in self._opaque:
            marks.opaque(At(self.directories.get(path)), self._owners.prefix)
        for place in sorted(self._whiteouts):  # a directory becomes opaque before something in it is deleted
            self._finish_whiteout(place)
        for path, member in self._attributes.items():
            directory = self.directories.get(path.rpartition(b"/")[0], make=False)
            name = path.rpartition(b"/")[2]
            if member.xattrs:
                self._xattrs(At(directory, name), member, inherited=True)
            times = (member.atime_ns, member.mtime_ns)
            if name:
                os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
            else:
                os.utime(At(directory).path, ns=times)

    def _finish_whiteout(self, place: Place) -> None:
        """Of the same layer nothing is deleted: a directory of that name just doesn't merge with those below."""
        directory = self.directories.get(place.directory)
        try:
            marks.whiteout(directory, place.name, self._owners.prefix)
        except FileExistsError:
            found = At(directory, place.name)
            if stat.S_ISDIR(found.stat().st_mode):
                marks.opaque(found, self._owners.prefix)


def _write(fd: int, archive: TarReader) -> None:
    piece = archive.small()
    if piece is not None:
        _write_all(fd, piece)
        return
    for view in archive.data():
        _write_all(fd, view)


def _write_sparse(fd: int, member: Member, archive: TarReader) -> None:
    os.ftruncate(fd, member.size)
    pieces = iter(member.sparse or ())
    left = 0
    for view in archive.data():
        while view:
            while not left:
                offset, left = next(pieces)
                os.lseek(fd, offset, os.SEEK_SET)
            _write_all(fd, view[:left])
            taken = min(left, len(view))
            view, left = view[taken:], left - taken


def _write_all(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


def _is_refusable(key: bytes, member: Member) -> bool:
    """Whether an ordinary user lacks the power, or the kernel has no such attribute of such an object."""
    return os.geteuid() != 0 or not key.startswith(b"security.") or member.kind in (SYMLINK, *_NODES)
