"""What a layer needs from those below: attributes of directories it only passes through, hard links to lower files.

A layer is unpacked alone, so that images can share it. What it needs goes into a small layer of its own over it, made
by the union's own verbs and therefore what a container's upper would have: the file copied up, with both its names.
"""

import os
from collections.abc import Sequence

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

_ROOT = Caller(0, 0)


def complete(draft: str, stack: Sequence[str], needs: Unpacked) -> None:
    """Make `draft`/diff what lies over `stack` (uppermost first), whose first layer has `needs`.

    Raises Corrupt: a link leads nowhere.
    """
    os.mkdir(f"{draft}/work", 0o700)
    lower = tuple(map(os.fsencode, stack))
    below = open_union(UnionOptions(lower=lower[1:], dialect="auto"))
    whole = open_union(
        UnionOptions(
            lower=lower, upper=os.fsencode(f"{draft}/diff"), workdir=os.fsencode(f"{draft}/work"), dialect="auto",
            volatile=True,
        )
    )  # fmt: skip
    try:
        for path in needs.implied:
            _resemble(below, whole, path)
        for name, target in needs.links:
            _link(below, whole, name, target)
    finally:
        whole.close()
        below.close()


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
    old = _find(whole, name)
    if old is not None:
        (remove.rmdir if isinstance(old, inodes.Dir) else remove.unlink)(whole, parent, last)
    run_inline(create.link(whole, found, parent, last))


def _find(union: Union, path: bytes) -> inodes.Node | None:
    node: inodes.Node = union.root
    try:
        for name in filter(None, path.split(b"/")):
            node, _ = lookup.lookup(union, node, name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return node
