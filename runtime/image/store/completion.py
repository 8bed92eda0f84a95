"""What a layer needs from those below: attributes of directories it only passes through, hard links to lower files.

A layer is unpacked alone, so that images can share it. What it needs goes into a small layer of its own over it, made
by the union's own verbs and therefore what a container's upper would have: the file copied up, with both its names.
Layers of that kind that only hold attributes aren't stacked: each takes over what the one below said.
"""

import os
from collections.abc import Iterator, Sequence

from runtime.image.errors import Corrupt
from runtime.image.tar.names import show
from runtime.image.tar.unpacked import Unpacked
from unionfs.core import inodes
from unionfs.core.model import Caller, SetAttr
from unionfs.core.opening import open_union
from unionfs.core.ops import attrs, create, lookup, remove
from unionfs.core.options import UnionOptions
from unionfs.core.union import Union
from unionfs.core.work import run_inline
from unionfs.linux.fsops import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_ROOT = Caller(0, 0)
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def complete(draft: str, layer: str, below: Sequence[str], needs: Unpacked, replaced: str) -> None:
    """Make `draft`/diff what lies over `layer`, which has `needs`, over `below` (uppermost first).

    `replaced` is the first of `below` if what we make takes its place, too; empty if not.
    Raises Corrupt: a link leads nowhere.
    """
    os.mkdir(f"{draft}/work", 0o700)
    stack = [layer, *(path for path in below if path != replaced)]
    before = open_union(UnionOptions(lower=tuple(map(os.fsencode, below)), dialect="auto"))
    whole = open_union(
        UnionOptions(
            lower=tuple(map(os.fsencode, stack)), upper=os.fsencode(f"{draft}/diff"),
            workdir=os.fsencode(f"{draft}/work"), dialect="auto", volatile=True,
        )
    )  # fmt: skip
    try:
        for path in sorted({*needs.directories, *_taken_over(replaced, layer)}):
            _resemble(before, whole, path)
        for name, target in needs.links:
            _link(before, whole, name, target)
    finally:
        whole.close()
        before.close()


def _taken_over(replaced: str, layer: str) -> Iterator[bytes]:
    """The directories of `replaced`, except for those of which `layer` has a word itself."""
    if not replaced:
        return
    top = os.fsencode(replaced)
    root = os.open(layer, _DIRECTORY)
    try:
        for folder, _, _ in os.walk(top):
            path = folder[len(top) + 1 :]
            if path and not _has(root, path):
                yield path
    finally:
        os.close(root)


def _has(root: int, path: bytes) -> bool:
    try:
        os.close(openat2(root, path, _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))
    except OSError:  # absent, or no directory: `whole` knows
        return False
    return True


def _resemble(below: Union, whole: Union, path: bytes) -> None:
    """Give a directory the attributes that it has in the layers below, if it is there."""
    old, new = _find(below, path), _find(whole, path)
    if not isinstance(old, inodes.Dir) or not isinstance(new, inodes.Dir):
        return
    _, st = lookup.getattr(below, old)
    for key in attrs.listxattr(below, old):
        run_inline(attrs.setxattr(whole, new, key, attrs.getxattr(below, old, key)))
    change = SetAttr(st.st_mode & 0o7777, st.st_uid, st.st_gid, None, st.st_atime_ns, st.st_mtime_ns)
    run_inline(attrs.setattr(whole, new, change, _ROOT))


def _link(below: Union, whole: Union, name: bytes, target: bytes) -> None:
    node = _find(below, target)
    found = _find(whole, target)
    if node is None or found is None or isinstance(found, inodes.Dir):
        raise Corrupt(f"archive: {show(name)} is a hard link to {show(target)}, which isn't there")
    above, _, last = name.rpartition(b"/")
    parent = _find(whole, above)
    if parent is None:
        raise Corrupt(f"archive: {show(name)} is a hard link in a directory that isn't there")
    _, st = lookup.getattr(whole, parent)
    old = _find(whole, name)
    if old is not None:
        (remove.rmdir if isinstance(old, inodes.Dir) else remove.unlink)(whole, parent, last)
    run_inline(create.link(whole, found, parent, last))
    times = SetAttr(None, None, None, None, st.st_atime_ns, st.st_mtime_ns)
    run_inline(attrs.setattr(whole, parent, times, _ROOT))


def _find(union: Union, path: bytes) -> inodes.Node | None:
    node: inodes.Node = union.root
    try:
        for name in filter(None, path.split(b"/")):
            node, _ = lookup.lookup(union, node, name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return node
