"""Random stacks of layers: what may lie in a layer, and how it is put there.

A layer is a list of `Thing`s, made in order; one that can't be (its place is taken, its parent is a file) is left out.
"""

import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

NAMES = (b"a", b"b", b"c")
ODD_NAMES = (b"x" * 255, b"\xff\xfe\n", b".wh.a", "ünï ".encode())
OLD_NS = 1_500_000_000_123_456_789
ACL_VERSION = 2
OPAQUE = b"trusted.overlay.opaque"


class Thing(NamedTuple):
    """One object of a layer."""

    kind: str
    path: tuple[bytes, ...]
    mode: int
    owner: int
    content: bytes
    """Data of a file, target of a symlink, value of an xattr."""
    other: tuple[bytes, ...]
    """Of a hard link, what it is a link to."""


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as an xattr (tag, permissions, id). include/uapi/linux/posix_acl_xattr.h."""
    return struct.pack("<I", ACL_VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
ACLS = (
    acl((1, 6, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY)),
    acl((1, 7, NOBODY), (4, 5, NOBODY), (8, 6, 2000), (16, 7, NOBODY), (32, 1, NOBODY)),
)

names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(ODD_NAMES))
paths = st.lists(names, min_size=1, max_size=3).map(tuple)
contents = st.sampled_from((b"", b"x", b"data", b"z" * 5000))
modes = st.sampled_from((0o644, 0o600, 0o755, 0o777, 0o4755, 0o2775, 0o1777, 0o000))
owners = st.sampled_from((0, 0, 1000, 1001))
kinds = st.sampled_from(
    ("file", "file", "dir", "dir", "symlink", "fifo", "device", "link", "whiteout", "opaque", "xattr", "acl", "default")
)
things = st.builds(Thing, kinds, paths, modes, owners, contents, paths)
stacks = st.lists(st.lists(things, max_size=12), min_size=1, max_size=6)


def build(layer: Path, contents: Sequence[Thing]) -> None:
    """Make the layer; every time in it is OLD_NS."""
    layer.mkdir(parents=True)
    root = os.fsencode(layer)
    for thing in contents:
        try:
            _make(root, os.path.join(root, *thing.path), thing)
        except OSError:
            continue
    for directory, folders, files in os.walk(root, topdown=False):
        for name in (*files, *folders):
            os.utime(os.path.join(directory, name), ns=(OLD_NS, OLD_NS), follow_symlinks=False)
    os.utime(root, ns=(OLD_NS, OLD_NS))


def _make(root: bytes, path: bytes, thing: Thing) -> None:
    if thing.kind in ("xattr", "acl", "default"):
        _mark(path, thing)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if thing.kind == "file":
        with open(path, "xb") as file:
            file.write(thing.content)
    elif thing.kind == "dir":
        os.mkdir(path)
    elif thing.kind == "opaque":
        os.mkdir(path)
        os.setxattr(path, OPAQUE, b"y")
    elif thing.kind == "symlink":
        os.symlink(os.path.join(*thing.other), path)
    elif thing.kind == "fifo":
        os.mkfifo(path)
    elif thing.kind == "device":
        os.mknod(path, stat.S_IFCHR, os.makedev(1, 3))
    elif thing.kind == "link":
        os.link(os.path.join(root, *thing.other), path, follow_symlinks=False)
        return
    elif thing.kind == "whiteout":
        os.mknod(path, stat.S_IFCHR, 0)
        return
    os.chown(path, thing.owner, thing.owner, follow_symlinks=False)
    if thing.kind != "symlink":
        os.chmod(path, thing.mode)


def _mark(path: bytes, thing: Thing) -> None:
    if thing.kind == "xattr":
        os.setxattr(path, b"user.key", thing.content[:100], follow_symlinks=False)
    elif thing.kind == "acl":
        os.setxattr(path, b"system.posix_acl_access", ACLS[thing.owner % 2], follow_symlinks=False)
    else:
        os.setxattr(path, b"system.posix_acl_default", ACLS[thing.owner % 2], follow_symlinks=False)



def prune(layers: Sequence[Path], mounted: Path) -> bool:
    """Take out whiteouts that hide nothing, given the mount of the stack; whether there were any.

    The kernel lists the names of some of these, and then doesn't find them; ours never shows them.
    """
    found = False
    root = os.fsencode(mounted)
    for directory, folders, files in os.walk(root):
        for name in (*folders, *files):
            if not os.path.lexists(os.path.join(directory, name)):
                inner = os.path.relpath(os.path.join(directory, name), root)
                found = True
                for layer in layers:
                    _remove_whiteout(os.path.join(os.fsencode(layer), inner))
    return found


def _remove_whiteout(path: bytes) -> None:
    try:
        status = os.lstat(path)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            os.unlink(path)
            os.utime(os.path.dirname(path), ns=(OLD_NS, OLD_NS))
    except OSError:
        return
