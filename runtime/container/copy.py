"""Files in and out of a container, as tar archives between two directories.

Neither side can lead the other astray. A path in the container is resolved inside its root, whatever symlinks are or
appear on the way; on this machine's side nothing of an archive follows a symlink. What an archive brings replaces
files, never a directory by something else or the reverse.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator

from runtime.container.inroot import open_target
from runtime.errors import Refusal
from runtime.image.tar.members import BLOCK, CHAR, DIRECTORY, FILE, FORMATS, KINDS, LINK, SYMLINK, Member
from runtime.image.tar.names import place_of
from runtime.image.tar.reader import TarReader
from runtime.image.tar.writer import TarWriter
from unionfs.linux.at import At
from unionfs.linux.fsops import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 18
_MOST_TRIES = 100

Opener = Callable[[bytes], int]
"""Opens a directory (O_PATH) by its path, and makes it if it is missing."""


def resolve(root: int, path: bytes, *, follow: bool) -> int:
    """An O_PATH descriptor of what `path` is inside `root`. Raises OSError."""
    flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
    for _ in range(_MOST_TRIES):
        try:
            return openat2(root, path.lstrip(b"/") or b".", flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno != errno.EAGAIN:  # somebody renames on the way
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def inside(root: int, base: bytes) -> Opener:
    """Directories below `base` of a container's root."""
    return lambda path: open_target(root, base + b"/" + path, "directory")


def below(directory: int) -> Opener:
    """Directories below one of this machine; no symlink is followed."""

    def opener(path: bytes) -> int:
        try:
            return openat2(directory, path or b".", _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        except FileNotFoundError:
            above, _, name = path.rpartition(b"/")
            parent = opener(above)
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
            except FileExistsError:
                pass  # a symlink to nowhere: refused when it is opened
            finally:
                os.close(parent)
            return openat2(directory, path, _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)

    return opener


def pack(source: int, name: bytes, write: Callable[[bytes], object]) -> None:
    """Write what `source` (O_PATH) is, with all below it, as members called `name` and `name`/…; `.`: its content."""
    packer = _Packer(TarWriter(write))
    for path, directory, last in _walk(source):
        packer.add(At(directory, last), name + b"/" + path if path else name)
    packer.close()


def _walk(source: int) -> Iterator[tuple[bytes, int, bytes]]:
    """(path below, directory, name in it): `source` itself first, by its descriptor alone."""
    yield b"", source, b""
    if not stat.S_ISDIR(os.fstat(source).st_mode):
        return
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        try:
            fd = openat2(source, path or b".", os.O_RDONLY | os.O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        except OSError:
            continue  # it was replaced meanwhile
        try:
            for entry in sorted(os.listdir(fd)):
                last = os.fsencode(entry)
                child = path + b"/" + last if path else last
                try:
                    mode = os.stat(last, dir_fd=fd, follow_symlinks=False).st_mode
                except FileNotFoundError:
                    continue
                yield child, fd, last
                if stat.S_ISDIR(mode):
                    waiting.append(child)
        finally:
            os.close(fd)


class _Packer:
    def __init__(self, archive: TarWriter) -> None:
        self._archive = archive
        self._names: dict[tuple[int, int], bytes] = {}
        """Of files with several names, the one that was written."""

    def add(self, place: At, name: bytes) -> None:
        st = place.stat()
        kind = KINDS.get(stat.S_IFMT(st.st_mode))
        if kind is None:
            return  # a socket: who listens isn't there
        if kind == FILE:
            self._file(place, name)
            return
        target = os.readlink(place.name, dir_fd=place.dirfd) if kind == SYMLINK else b""
        self._archive.add(_member(kind, name + b"/" if kind == DIRECTORY else name, st, target))

    def close(self) -> None:
        self._archive.close()

    def _file(self, place: At, name: bytes) -> None:
        """A file that shrinks or grows meanwhile gets the size that it had."""
        path = place.name or b"/proc/self/fd/%d" % place.dirfd
        nofollow = os.O_NOFOLLOW if place.name else 0
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | nofollow
        fd = os.open(path, flags, dir_fd=place.dirfd if place.name else None)
        try:
            st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode):
                return  # it was replaced meanwhile
            first = self._names.setdefault((st.st_dev, st.st_ino), name) if st.st_nlink > 1 else name
            if first != name:
                self._archive.add(_member(LINK, name, st, first))
                return
            self._archive.add(_member(FILE, name, st, b""))
            left = st.st_size
            while left:
                data = os.read(fd, min(left, _CHUNK_BYTES)) or bytes(min(left, _CHUNK_BYTES))
                self._archive.content(data)
                left -= len(data)
        finally:
            os.close(fd)


def _member(kind: bytes, name: bytes, st: os.stat_result, target: bytes) -> Member:
    device = (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in (CHAR, BLOCK) else (0, 0)
    size = st.st_size if kind == FILE else 0
    mode = stat.S_IMODE(st.st_mode)
    return Member(kind, name, mode, st.st_uid, st.st_gid, size, st.st_mtime_ns, 0, target, device, {}, None)


def unpack(
    read: Callable[[], bytes], opener: Opener, owner: tuple[int, int] | None, name: tuple[bytes, bytes] = (b"", b"")
) -> None:
    """Make what an archive has. `owner`: of all that is made, None: as the archive says. `name`: (old, new) of its top.

    Raises Refusal, Corrupt, OSError.
    """
    unpacker = _Unpacker(TarReader(read), opener, owner, *name)
    unpacker.run()


class _Unpacker:
    def __init__(
        self, archive: TarReader, opener: Opener, owner: tuple[int, int] | None, old: bytes, new: bytes
    ) -> None:
        self._archive = archive
        self._opener = opener
        self._owner = owner
        self._old, self._new = old, new
        self._times: list[tuple[bytes, Member]] = []
        """Of directories, which come last."""

    def run(self) -> None:
        for member in self._archive:
            path = self._path(member.name)
            above, _, name = path.rpartition(b"/")
            if member.kind == DIRECTORY:
                self._directory(path, member)
            elif name:
                self._other(above, name, member)
        for path, member in reversed(self._times):
            fd = self._opener(path)
            os.utime(b"/proc/self/fd/%d" % fd, ns=(member.mtime_ns, member.mtime_ns))
            os.close(fd)

    def _path(self, name: bytes) -> bytes:
        path = place_of(name).path
        if self._old and (path == self._old or path.startswith(self._old + b"/")):
            path = self._new + path[len(self._old) :]
        return path.strip(b"/")

    def _directory(self, path: bytes, member: Member) -> None:
        above, _, name = path.rpartition(b"/")
        is_new = False
        if name:
            parent = self._opener(above)
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
                is_new = True
            except FileExistsError:
                pass
            finally:
                os.close(parent)
        try:
            fd = self._opener(path)
        except NotADirectoryError:
            raise Refusal(f"cannot overwrite non-directory {_text(path)} with a directory", status=1) from None
        try:
            if is_new:
                self._dress(b"/proc/self/fd/%d" % fd, member)
                self._times.append((path, member))
        finally:
            os.close(fd)

    def _other(self, above: bytes, name: bytes, member: Member) -> None:
        directory = self._opener(above)
        try:
            self._make_room(directory, name, member)
        except IsADirectoryError:
            text = _text(above + b"/" + name)
            raise Refusal(f"cannot overwrite directory {text} with a non-directory", status=1) from None
        finally:
            os.close(directory)

    def _make_room(self, directory: int, name: bytes, member: Member) -> None:
        """Raises IsADirectoryError."""
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno == errno.EBUSY and member.kind == FILE:  # something is mounted there: write into it
                fd = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                self._content(fd)
                return
            raise
        self._make(directory, name, member)

    def _make(self, directory: int, name: bytes, member: Member) -> None:
        if member.kind == FILE:
            fd = os.open(name, _NEW, 0o600, dir_fd=directory)
            self._content(fd, member)
            return
        if member.kind == LINK:
            self._link(directory, name, member)
            return
        if member.kind == SYMLINK:
            os.symlink(member.target, name, dir_fd=directory)
            os.chown(name, *self._owner_of(member), dir_fd=directory, follow_symlinks=False)
        else:
            os.mknod(name, FORMATS[member.kind] | member.mode, os.makedev(*member.device), dir_fd=directory)
            os.chown(name, *self._owner_of(member), dir_fd=directory, follow_symlinks=False)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _content(self, fd: int, member: Member | None = None) -> None:
        try:
            for view in self._archive.data():
                rest = view
                while rest:
                    rest = rest[os.write(fd, rest) :]
            if member is not None:
                self._dress(fd, member)
                os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _link(self, directory: int, name: bytes, member: Member) -> None:
        above, _, last = self._path(member.target).rpartition(b"/")
        source = self._opener(above)
        try:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(source)

    def _dress(self, target: bytes | int, member: Member) -> None:
        os.chown(target, *self._owner_of(member))
        os.chmod(target, member.mode)

    def _owner_of(self, member: Member) -> tuple[int, int]:
        return self._owner or (member.uid, member.gid)


def _text(path: bytes) -> str:
    return "/" + path.lstrip(b"/").decode(errors="backslashreplace")
