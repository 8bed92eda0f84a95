"""Compare two file trees entry by entry, as a person would want to read the result.

    before = snapshot(path)                     # {relative path: Entry}; "." is the top itself
    differences(before, snapshot(other))        # ["usr/bin/x: mode 0755, expected 4755", …]; [] when equal
    assert_same_tree(before, snapshot(other), ignore={"mtime_ns"}, skip=lambda path: path.startswith("tmp/"))

Paths are str, undecodable bytes kept as surrogates (os.fsdecode). What two filesystems may differ in by
right is left out of an Entry: st_dev, st_ino, atime, ctime, allocated blocks, and the size of a directory.
Mount points below the top are listed but not entered.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}

FAR_FUTURE_NS = 1 << 63

PRIVATE_XATTRS = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name of a tree is; fields that its type has not are None."""

    type: str
    mode: int                       # permission bits with setuid, setgid, sticky
    uid: int
    gid: int
    size_bytes: int | None          # files only
    mtime_ns: int
    nlink: int
    rdev: tuple[int, int] | None    # devices only: major, minor
    xattrs: tuple[tuple[str, bytes], ...]   # ACLs and capabilities included, sorted by name
    target: str | None              # symlinks only
    sha256: str | None              # files only, unless content was not asked for


Snapshot = dict[str, Entry]


def snapshot(
    top: str | os.PathLike[str], *, content: bool = True, content_since_ns: int = 0, xattrs: bool = True
) -> Snapshot:
    """Read the tree under `top`, which is "." in the result; raises OSError as the filesystem does.

    Content is read of files whose ctime is not before `content_since_ns`.
    """
    root = os.fspath(top)
    since_ns = content_since_ns if content else FAR_FUTURE_NS
    return {path: entry_of(os.path.join(root, path), content_since_ns=since_ns, xattrs=xattrs) for path in walk(root)}


def walk(root: str) -> Iterator[str]:
    """Every path under `root` relative to it, parents first, names sorted; other filesystems not entered."""
    device = os.lstat(root).st_dev
    pending = ["."]
    while pending:
        path = pending.pop()
        yield path
        full = os.path.join(root, path)
        status = os.lstat(full)
        if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
            names = sorted(os.listdir(full), reverse=True)
            pending += [name if path == "." else f"{path}/{name}" for name in names]


def entry_of(path: str, *, content_since_ns: int = 0, xattrs: bool = True) -> Entry:
    """Describe the object at `path`, without following a symlink."""
    status = os.lstat(path)
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    is_file = kind == "file"
    return Entry(
        type=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size_bytes=status.st_size if is_file else None,
        mtime_ns=status.st_mtime_ns,
        nlink=status.st_nlink,
        rdev=(os.major(status.st_rdev), os.minor(status.st_rdev)) if kind.endswith("device") else None,
        xattrs=xattrs_of(path) if xattrs else (),
        target=os.readlink(path) if kind == "symlink" else None,
        sha256=sha256_of(path) if is_file and status.st_ctime_ns >= content_since_ns else None,
    )


def xattrs_of(path: str) -> tuple[tuple[str, bytes], ...]:
    """Extended attributes of `path`, those that overlay filesystems keep for themselves left out."""
    names = sorted(os.listxattr(path, follow_symlinks=False))
    shown = [name for name in names if not name.startswith(PRIVATE_XATTRS)]
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in shown)


def sha256_of(path: str) -> str:
    """Checksum of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_plain_links(tree: Snapshot) -> Snapshot:
    """`tree` with 1 for every directory's link count, which filesystems count differently."""
    return {path: replace(entry, nlink=1) if entry.type == "directory" else entry for path, entry in tree.items()}


def differences(
    expected: Snapshot,
    actual: Snapshot,
    *,
    ignore: Collection[str] = (),
    skip: Callable[[str], bool] = lambda path: False,
) -> list[str]:
    """List what `actual` has otherwise than `expected`, one line an entry, sorted by path.

    `ignore` names fields of Entry not to compare; `skip` names paths not to look at. Content is compared where both
    have read it.
    """
    unknown = set(ignore) - {field.name for field in fields(Entry)}
    if unknown:
        raise ValueError(f"no such field of Entry: {', '.join(sorted(unknown))}")
    lines = []
    for path in sorted(expected.keys() | actual.keys()):
        if skip(path):
            continue
        if path not in actual:
            lines.append(f"{path}: missing ({expected[path].type} expected)")
        elif path not in expected:
            lines.append(f"{path}: unexpected {actual[path].type}")
        elif details := _entry_differences(expected[path], actual[path], ignore):
            lines.append(f"{path}: {details}")
    return lines


def _entry_differences(expected: Entry, actual: Entry, ignore: Collection[str]) -> str:
    parts = []
    for field in fields(Entry):
        want, have = getattr(expected, field.name), getattr(actual, field.name)
        unknown = field.name == "sha256" and None in (want, have)
        if field.name not in ignore and want != have and not unknown:
            parts.append(f"{field.name} {_shown(field.name, have)}, expected {_shown(field.name, want)}")
    return "; ".join(parts)


def _shown(field: str, value: object) -> str:
    return f"{value:04o}" if field == "mode" and isinstance(value, int) else str(value)


def assert_same_tree(
    expected: Snapshot,
    actual: Snapshot,
    *,
    ignore: Collection[str] = (),
    skip: Callable[[str], bool] = lambda path: False,
    shown: int = 40,
) -> None:
    """Fail with the first `shown` differences, if there are any; never on an empty expectation."""
    assert expected, "nothing to compare with"
    lines = differences(expected, actual, ignore=ignore, skip=skip)
    if lines:
        more = [f"… and {len(lines) - shown} more"] if len(lines) > shown else []
        raise AssertionError("\n".join([f"{len(lines)} entries differ:", *lines[:shown], *more]))
