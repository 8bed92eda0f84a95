"""Objects of lower layers that chattr(1) made immutable or append-only: they are so in the union, too.

A copy of one (a directory in which a file is changed, a file that is appended to) would have to be changed itself
while it is made, so a mark says it of the copy. Of what it was said in the upper, the upper's filesystem sees to it.
Kernel: fs/overlayfs/util.c:ovl_check_protattr(), ovl_set_protattr().
"""

import errno
import os
from contextlib import suppress

from unionfs.core import objects
from unionfs.core.dialect import PROTATTR
from unionfs.core.inodes import Node
from unionfs.core.union import Union
from unionfs.linux import fsops
from unionfs.linux.at import At

APPEND, IMMUTABLE = 0x20, 0x10  # FS_APPEND_FL, FS_IMMUTABLE_FL of include/uapi/linux/fs.h; STATX_ATTR_* are the same
_LETTERS = {APPEND: b"a", IMMUTABLE: b"i"}


def check(union: Union, node: Node, *, appends: bool = False) -> None:
    """Raise EPERM if `node` can't be changed; `appends`: nothing that it has goes."""
    if flags(union, node) & (IMMUTABLE if appends else IMMUTABLE | APPEND):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def flags(union: Union, node: Node) -> int:
    """Which of APPEND and IMMUTABLE `node` has from a lower layer; asked once. Raises OSError of the layer."""
    if node.protection is None:
        place = objects.locate(union, node)
        if objects.holder(union, node).is_upper:
            said = union.dialect.get(place, PROTATTR) or b""
            node.protection = sum(flag for flag, letter in _LETTERS.items() if letter in said)
        else:
            node.protection = fsops.attributes(place.dirfd, place.name) & (APPEND | IMMUTABLE)
    return node.protection


def keep(union: Union, node: Node, copy: At) -> None:
    """Say of `copy`, which takes the place of the lower `node`, what was said of that. Raises OSError."""
    if said := flags(union, node):
        union.dialect.set(copy, PROTATTR, b"".join(letter for flag, letter in _LETTERS.items() if said & flag))


def drop(union: Union, node: Node) -> None:
    """The upper's filesystem says it of `node` from now on. Raises OSError."""
    if node.protection:
        with suppress(PermissionError):  # that says the same
            union.dialect.remove(objects.locate(union, node), PROTATTR)
            node.protection = 0
