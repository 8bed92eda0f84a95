"""The lower layers that all scenarios start from, and what a union over them looks like, from three sides."""

import hashlib
import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from tests.support.tree import PRIVATE_XATTRS, TYPES, Entry, Snapshot, snapshot, with_plain_links
from tests.unit.core.inprocess import InProcess
from unionfs.core.inodes import Dir, Node
from unionfs.core.model import StatLike
from unionfs.core.ops import attrs, listing, lookup

OLD_NS = 1_500_000_000_123_456_789
NOBODY = 0xFFFFFFFF
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY))
)
"""user::rw-,user:1000:rwx,group::r--,mask::rwx,other::---"""
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
EXTENT = 64 << 10


class Seen(NamedTuple):
    """A tree, and which of its names are one object."""

    tree: Snapshot
    links: dict[str, int]
    """Inode number of every name."""

    def groups(self) -> set[frozenset[str]]:
        """Sets of names that are hard links of one another."""
        names: dict[int, list[str]] = {}
        for path, ino in self.links.items():
            names.setdefault(ino, []).append(path)
        return {frozenset(paths) for paths in names.values() if len(paths) > 1}


def build(top: Path, bottom: Path) -> None:
    """Fill two lower layers; every time in them is OLD_NS."""
    for name in ("file", "over", "chain/a/b/file", "merged/low", "pure/inner/file", "doomed", "xattrs"):
        _put(bottom / name, f"lower {name}")
    _put(top / "merged/top", "top")
    _put(top / "over", "hides the bottom's")
    _put(bottom / "large", bytes(range(256)) * 1200)
    _sparse(bottom / "sparse")
    _put(bottom / "links/one", "one object")
    for link in ("links/two", "chain/three"):
        os.link(bottom / "links/one", bottom / link)
    (bottom / "symlink").symlink_to("nowhere in particular")
    os.mkfifo(bottom / "fifo", 0o640)
    os.mknod(bottom / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (bottom / "empty").mkdir()
    (top / "empty").mkdir()
    _put(top / "hollow/gone", "only this")
    _decorate(bottom)
    for layer in (top, bottom):
        for directory, folders, files in os.walk(layer, topdown=False):
            for name in (*files, *folders, "."):
                os.utime(os.path.join(directory, name), ns=(OLD_NS, OLD_NS), follow_symlinks=False)


def _put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        for extent in range(0, 8, 2):
            file.seek(extent * EXTENT)
            file.write(b"%d" % extent * 5000)
        file.truncate(9 * EXTENT)


def _decorate(bottom: Path) -> None:
    xattrs = bottom / "xattrs"
    os.chown(xattrs, 1000, 1001)
    xattrs.chmod(0o6755)
    os.setxattr(xattrs, "user.key", b"value")
    os.setxattr(xattrs, "system.posix_acl_access", ACL)
    os.setxattr(xattrs, "security.capability", CAPABILITY)
    os.chown(bottom / "chain/a", 1000, 1000)
    (bottom / "chain/a").chmod(0o2750)
    os.setxattr(bottom / "chain/a", "user.key", b"value")
    os.setxattr(bottom / "chain/a", "system.posix_acl_default", ACL)


def seen_by_verbs(fs: InProcess) -> Seen:
    """The union through its verbs; whatever a node was in memory for before, it stays."""
    seen = Seen({}, {})
    _walk(fs, fs.union.root, ".", seen)
    return seen


def _walk(fs: InProcess, node: Node, path: str, seen: Seen) -> None:
    union = fs.union
    node.lookups += 1
    _, st = lookup.getattr(union, node)
    seen.tree[path] = _entry(fs, node, st, path)
    seen.links[path] = node.ino
    if isinstance(node, Dir):
        fh = listing.opendir(union, node)
        for _, name, child, listed in listing.readdir(union, fh, 0):
            if name not in (b".", b".."):
                assert (stat.S_IFMT(listed.st_mode), child.lookups >= 0) == (_kind(fs, child), True), name
                _walk(fs, child, os.path.normpath(f"{path}/{os.fsdecode(name)}"), seen)
        listing.releasedir(union, fh)
    lookup.forget(union, node, 1)


def _kind(fs: InProcess, node: Node) -> int:
    return stat.S_IFMT(lookup.getattr(fs.union, node)[1].st_mode)


def _entry(fs: InProcess, node: Node, st: StatLike, path: str) -> Entry:
    union = fs.union
    kind = TYPES[stat.S_IFMT(st.st_mode)]
    keys = sorted(os.fsdecode(key) for key in attrs.listxattr(union, node))
    return Entry(
        type=kind,
        mode=stat.S_IMODE(st.st_mode),
        uid=st.st_uid,
        gid=st.st_gid,
        size_bytes=st.st_size if kind == "file" else None,
        mtime_ns=st.st_mtime_ns,
        nlink=1 if kind == "directory" else st.st_nlink,
        rdev=(os.major(st.st_rdev), os.minor(st.st_rdev)) if kind.endswith("device") else None,
        xattrs=tuple((key, attrs.getxattr(union, node, os.fsencode(key))) for key in keys),
        target=os.fsdecode(lookup.readlink(union, node)) if kind == "symlink" else None,
        sha256=hashlib.sha256(fs.read(path)).hexdigest() if kind == "file" else None,
    )


def seen_at(root: Path) -> Seen:
    """A mounted tree."""
    tree = with_plain_links(snapshot(root))
    return Seen(tree, {path: os.lstat(root / path).st_ino for path in tree})


def strays(upper: Path, lowers: list[Path], seen: Seen, spared: tuple[str, ...]) -> list[str]:
    """What lies in the upper and is neither visible in the union nor hides anything of a lower layer.

    Whiteouts at the `spared` names may hide nothing.
    """
    found = []
    for directory, folders, files in os.walk(upper):
        for name in (*folders, *files):
            path = os.path.relpath(os.path.join(directory, name), upper)
            status = os.lstat(upper / path)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                if not any(os.path.lexists(lower / path) for lower in lowers) and path not in spared:
                    found.append(f"{path}: a whiteout of nothing")
            elif path not in seen.tree:
                found.append(f"{path}: not visible")
            elif any(key.startswith(PRIVATE_XATTRS) for key, _ in seen.tree[path].xattrs):
                found.append(f"{path}: marks are visible")
    return found
