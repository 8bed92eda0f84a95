"""Redirects: under which name the layers below know an object of the upper that was renamed.

Kernel: fs/overlayfs/dir.c:ovl_set_redirect().
"""

import errno
import os

from unionfs.core import objects
from unionfs.core.dialect import REDIRECT
from unionfs.core.inodes import Dir, File
from unionfs.core.union import Union

_LONGEST = 256
"""Longer relative ones the kernel doesn't write either: fs/overlayfs/params.c, redirect_max."""
_PATH_MAX = 4096


def leave(union: Union, node: Dir | File, parent: Dir, name: bytes, *, stays: bool) -> None:
    """Let `node`, called `name` in `parent` and in the upper, find what the layers below have of it when renamed.

    `stays`: it is renamed in `parent`, and has no other name elsewhere. Raises OSError: EXDEV (the path is too long),
    EOPNOTSUPP (the upper holds no xattrs), ENOSPC.
    """
    place = objects.locate(union, node)
    present = union.dialect.get(place, REDIRECT)
    if present is not None and (stays or present.startswith(b"/")):
        return
    value = present or name
    if not stays or len(value) > _LONGEST:
        above = lower_path(union, parent)
        value = b"/" + (above + b"/" + value if above else value)
    if len(value) > _PATH_MAX:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    union.dialect.set(place, REDIRECT, value)


def lower_path(union: Union, node: Dir) -> bytes:
    """The path of `node`, which has lower content, in the union of the lower layers alone; without leading slash.

    Kernel: fs/overlayfs/dir.c:ovl_get_redirect().
    """
    names: list[bytes] = []
    walk = node
    while walk.parent is not None:
        redirect = None if walk.upper is None else union.dialect.get(objects.locate(union, walk), REDIRECT)
        if redirect is not None and redirect.startswith(b"/"):
            names.append(redirect.strip(b"/"))
            break
        names.append(walk.name if redirect is None else redirect)
        walk = walk.parent
    return b"/".join(reversed(names))
