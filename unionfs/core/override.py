"""Owner and mode of an object kept in an xattr, where its filesystem or its writer has no power over the real ones.

The value is `UID:GID:MODE`, octal, and perhaps `:KIND`, as containers/storage and fuse-overlayfs write it. A layer
holds its objects so if its root has the xattr. Beneath, they are the driver's, never set-id, and always open to it.
"""

import errno
import os
import re
import stat
from typing import NamedTuple

from unionfs.core.model import NOBODY, StatLike
from unionfs.linux.at import At

PRIVILEGED = b"security.fuseoverlayfs.override_stat"
USER = b"user.fuseoverlayfs.override_stat"
CONTAINERS = b"user.containers.override_stat"
KEYS = (PRIVILEGED, USER, CONTAINERS)
"""A layer's is the first of these that its root has."""
HIDDEN = (b"security.fuseoverlayfs.", b"user.fuseoverlayfs.override_", b"user.containers.override_")
"""Beginnings of keys that users neither see nor set."""

# compiled when they are first used, as few layers have any
_VALUE = rb"(?s)(-1|\d{1,10}):(-1|\d{1,10}):([0-7]+)(?::(.*))?"
_DEVICE = rb"(char|block)-(\d{1,3})-(\d{1,6})"
_ID_END = 2**32 - 1
_KINDS = {b"char": stat.S_IFCHR, b"block": stat.S_IFBLK, b"pipe": stat.S_IFIFO, b"socket": stat.S_IFSOCK}
_ABSENT = (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM)
_SET_ID = stat.S_ISUID | stat.S_ISGID


class Owner(NamedTuple):
    """What is said of an object in place of its real owner and mode; ids of the layer."""

    uid: int
    gid: int
    mode: int
    """Without the kind of object."""
    kind: bytes = b""
    """As in the value."""

    def over(self, st: StatLike) -> tuple[int, int]:
        """(mode, device number) of an object whose real attributes are `st`. A regular file may be told otherwise."""
        device = re.fullmatch(_DEVICE, self.kind)
        word = device[1] if device else self.kind
        if not stat.S_ISREG(st.st_mode) or word not in _KINDS or (device is None) != (word in (b"pipe", b"socket")):
            return stat.S_IFMT(st.st_mode) | self.mode, st.st_rdev
        return _KINDS[word] | self.mode, os.makedev(int(device[2]), int(device[3])) if device else 0


def real(st: StatLike) -> Owner:
    """Owner and mode that an object has itself."""
    return Owner(st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode))


def key_of(root: At) -> bytes:
    """The xattr of a layer whose root is `root`; empty: its objects have owner and mode themselves."""
    return next((key for key in KEYS if _get(root, key) is not None), b"")


def read(place: At, key: bytes) -> Owner | None:
    """What the xattr `key` of `place` says; None if it has none, or one that can't be understood."""
    value = _get(place, key)
    match = re.fullmatch(_VALUE, value) if value is not None else None
    if match is None:
        return None
    uid, gid = (number if 0 <= number < _ID_END else NOBODY for number in (int(match[1]), int(match[2])))
    return Owner(uid, gid, stat.S_IMODE(int(match[3], 8)), match[4] or b"")


def write(place: At, key: bytes, owner: Owner) -> None:
    """Let `key` say `owner` of `place`. Symlinks and devices take no `user.` xattrs: they stay the driver's."""
    value = b"%d:%d:%o" % owner[:3] + (b":" + owner.kind if owner.kind else b"")
    try:
        place.setxattr(key, value)
    except OSError as error:
        st = place.stat()
        if error.errno != errno.EPERM or stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            raise


def give(place: At, key: bytes, owner: Owner) -> None:
    """`write`, and let the real mode fit: that of `owner`, but never set-id and always open to the driver."""
    write(place, key, owner)
    mode = place.stat().st_mode
    if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != _beneath(mode, owner.mode):
        place.chmod(_beneath(mode, owner.mode))


def give_new(place: At, key: bytes, directory: At, uid: int, gid: int) -> None:
    """Let what was just made at `place`, in `directory`, belong to `uid` and `gid`, or the group of a set-gid one."""
    st = place.stat()
    parent = read(directory, key) or real(directory.stat())
    mode = stat.S_IMODE(st.st_mode)
    if parent.mode & stat.S_ISGID:
        gid = parent.gid
        mode |= stat.S_ISGID if stat.S_ISDIR(st.st_mode) else 0
    give(place, key, Owner(uid, gid, mode))


def change(place: At, key: bytes, uid: int, gid: int, mode: int | None) -> None:
    """chown(2) and chmod(2) of what is said; -1 and None leave it as it is."""
    st = place.stat()
    owner = read(place, key) or real(st)
    if (uid, gid) != (-1, -1) and not stat.S_ISDIR(st.st_mode):
        owner = owner._replace(mode=without_set_id(owner.mode))
    give(place, key, owner._replace(
        uid=owner.uid if uid == -1 else uid,
        gid=owner.gid if gid == -1 else gid,
        mode=owner.mode if mode is None else stat.S_IMODE(mode),
    ))


def without_set_id(mode: int) -> int:
    """`mode` as a stranger's write leaves it: a set-group-id bit without group execution stays."""
    return mode & ~(_SET_ID if mode & stat.S_IXGRP else stat.S_ISUID)


def _beneath(real_mode: int, mode: int) -> int:
    return mode & 0o777 | (0o700 if stat.S_ISDIR(real_mode) else 0o600)


def _get(place: At, key: bytes) -> bytes | None:
    try:
        return place.getxattr(key)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
