"""Directory trees that strangers filled: their removal; a root that is like another."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from unionfs.core.dialect import TRUSTED, USER
from unionfs.linux.at import At

_MARKS = (TRUSTED, USER)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove the directory `path` and all below it; nothing happens if it is absent.

    Follows no symlink and holds two descriptors however deep the tree is: a directory with content is moved up to
    `path` and emptied there. (shutil.rmtree recurses at every level, and a container can make more than Python allows.)
    """
    try:
        top = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _empty(top)
    finally:
        os.close(top)
    with suppress(FileNotFoundError):
        os.rmdir(path)


def _empty(top: int) -> None:
    prefix = os.urandom(8).hex()  # a name that nobody inside could have foreseen
    moved = 0
    waiting = ["."]
    while waiting:
        name = waiting.pop()
        directory = os.open(name, _DIRECTORY, dir_fd=top)
        try:
            for child in _remove_what_is_simple(directory):
                moved += 1
                waiting.append(f"{prefix}-{moved}")
                os.rename(child, waiting[-1], src_dir_fd=directory, dst_dir_fd=top)
        finally:
            os.close(directory)
        if name != ".":
            os.rmdir(name, dir_fd=top)


def _remove_what_is_simple(directory: int) -> list[str]:
    """Remove files and empty directories; the names of the other directories."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    full = []
    for name, is_dir in found:
        if not is_dir:
            os.unlink(name, dir_fd=directory)
            continue
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError:  # ENOTEMPTY, or EEXIST as some filesystems say it
            full.append(name)
    return full


def copy_attributes(source: str, target: str) -> None:
    """Give the directory `target` owner, mode, xattrs and times of `source`, but for marks of a union.

    Raises OSError: an ordinary user can't give directories away.
    """
    with _opened(source) as old, _opened(target) as new:
        st = old.stat()
        if (st.st_uid, st.st_gid) != (new.stat().st_uid, new.stat().st_gid):
            new.chown(st.st_uid, st.st_gid)
        for key in _keys(old):
            _copy_xattr(old, new, key)
        new.chmod(st.st_mode & 0o7777)
        new.utime(st.st_atime_ns, st.st_mtime_ns)


def have_same_attributes(one: str, other: str) -> bool:
    """Whether two directories have the same owner, mode and xattrs. Raises OSError."""
    with _opened(one) as first, _opened(other) as second:
        return _attributes(first) == _attributes(second)


def _attributes(place: At) -> tuple[object, ...]:
    st = place.stat()
    return st.st_mode, st.st_uid, st.st_gid, {key: place.getxattr(key) for key in _keys(place)}


def _keys(place: At) -> list[bytes]:
    return [key for key in place.listxattr() if not key.startswith(_MARKS)]


@contextmanager
def _opened(path: str) -> Iterator[At]:
    fd = os.open(path, _DIRECTORY)
    try:
        yield At(fd)
    finally:
        os.close(fd)


def _copy_xattr(old: At, new: At, key: bytes) -> None:
    try:
        new.setxattr(key, old.getxattr(key))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise
