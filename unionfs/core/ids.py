"""Owners as the layers hold them, and as users see them: maps of ids, squashed owners, and ids in access control lists.

A union without any of this has no Ids at all. Ids that users see are those of the user namespace of the driver.
"""

import errno
import os
import struct
from collections.abc import Callable
from itertools import pairwise

from unionfs.core.layer import Layer
from unionfs.core.model import NOBODY, Caller, Stat, StatLike
from unionfs.core.options import IdMap
from unionfs.core.override import Owner

_NO_CHANGE = -1
_ACL_HEADER = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER_OBJ, _ACL_USER, _ACL_GROUP_OBJ, _ACL_GROUP, _ACL_MASK, _ACL_OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_ACL_OWNER_BITS = 6


class IdMapping:
    """User ids, or group ids, of the layers and those that users see."""

    __slots__ = ("rows", "squash")

    def __init__(self, rows: IdMap = (), squash: int | None = None) -> None:
        self.rows = rows
        """Each id in at most one row, on either side; none: every id is itself."""
        self.squash = squash
        """The one owner that users see, whoever it is; what the layers hold isn't changed by it."""

    def owner(self, stored: int, *, mapped: bool = False) -> int:
        """The owner that users see of an object of the owner `stored`; `mapped`: that is mapped already."""
        if self.squash is not None:
            return self.squash
        if mapped:
            return stored
        shown = self.shown(stored)
        return NOBODY if shown is None else shown

    def shown(self, stored: int) -> int | None:
        """What users see of the id `stored`; None: it isn't mapped."""
        if not self.rows:
            return stored
        for first, shown, count in self.rows:
            if first <= stored < first + count:
                return shown + stored - first
        return None

    def stored(self, shown: int) -> int | None:
        """The id of the layers of which users see `shown`; None: there is none."""
        if not self.rows:
            return shown
        for stored, first, count in self.rows:
            if first <= shown < first + count:
                return stored + shown - first
        return None


class Ids:
    """The maps of one union, and how its upper holds owners. Never changes."""

    __slots__ = ("_gids", "_new_gids", "_new_uids", "_uids", "key")

    def __init__(self, uids: IdMapping, gids: IdMapping, *, key: bytes, upper_is_mapped: bool) -> None:
        self.key = key
        """The xattr of the upper's objects that holds owner and mode; empty: they have them themselves."""
        self._uids = uids
        self._gids = gids
        self._new_uids = IdMapping() if upper_is_mapped else uids
        self._new_gids = IdMapping() if upper_is_mapped else gids

    def shown(self, st: StatLike, layer: Layer, owner: Owner | None) -> Stat:
        """What users see of an object of `layer`; `owner`: what its xattr says, if it has one."""
        mode, rdev, uid, gid = st.st_mode, st.st_rdev, st.st_uid, st.st_gid
        if owner is not None:
            mode, rdev = owner.over(st)
            uid, gid = owner.uid, owner.gid
        return Stat(
            mode,
            st.st_nlink,
            self._uids.owner(uid, mapped=layer.is_id_mapped),
            self._gids.owner(gid, mapped=layer.is_id_mapped),
            rdev,
            st.st_size,
            st.st_blocks,
            st.st_blksize,
            st.st_atime_ns,
            st.st_mtime_ns,
            st.st_ctime_ns,
        )

    def creator(self, caller: Caller) -> Caller:
        """To whom the upper is to say that an object belongs which `caller` makes.

        Root of the driver's namespace prepares containers in whose map it needn't be: as in fuse-overlayfs its objects
        belong to nobody then. Raises OSError: EOVERFLOW (others who aren't mapped, as vfs_create() has it).
        """
        uid, gid = self._new_uids.stored(caller.uid), self._new_gids.stored(caller.gid)
        if (uid is None or gid is None) and caller.uid != 0:
            raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW))
        return caller._replace(uid=NOBODY if uid is None else uid, gid=NOBODY if gid is None else gid)

    def stored_owner(self, uid: int | None, gid: int | None) -> tuple[int, int]:
        """Arguments of chown(2) for what a user asked for. Raises OSError: EINVAL (an id that isn't mapped)."""
        return _asked(self._new_uids, uid), _asked(self._new_gids, gid)

    def carried(self, layer: Layer, owner: Owner) -> Owner:
        """`owner` of an object of `layer`, as the upper is to hold it.

        Raises OSError: EOVERFLOW (an id-mapped layer, and it isn't told whose the object is, as in ovl_copy_up_one()).
        """
        if not layer.is_id_mapped:
            return owner
        uid, gid = self._new_uids.stored(owner.uid), self._new_gids.stored(owner.gid)
        if uid is None or gid is None:
            raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW))
        return owner._replace(uid=uid, gid=gid)

    def shown_acl(self, value: bytes, layer: Layer, owner: Owner | None) -> bytes:
        """An access control list of `layer`; entries of ids that aren't mapped are left out, as nobody has them."""
        if owner is not None:
            value = _with_owner_bits(value, owner.mode >> _ACL_OWNER_BITS & 7)
        return value if layer.is_id_mapped else _map_acl(value, self._uids.shown, self._gids.shown)

    def stored_acl(self, value: bytes) -> bytes:
        """An access control list for the upper. Raises OSError: EINVAL (an id that isn't mapped)."""
        return _map_acl(value, lambda uid: _asked(self._new_uids, uid), lambda gid: _asked(self._new_gids, gid))

    def carried_acl(self, value: bytes, layer: Layer) -> bytes:
        """An access control list of `layer`, for the upper."""
        return _map_acl(value, self._new_uids.stored, self._new_gids.stored) if layer.is_id_mapped else value


def _asked(mapping: IdMapping, shown: int | None) -> int:
    if shown is None:
        return _NO_CHANGE
    stored = mapping.stored(shown)
    if stored is None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return stored


Translate = Callable[[int], int | None]


def _map_acl(value: bytes, uid_of: Translate, gid_of: Translate) -> bytes:
    """The list with the ids of its named entries changed. Kernel: include/uapi/linux/posix_acl_xattr.h."""
    changed = bytearray(value[: _ACL_HEADER.size])
    for tag, bits, named in _acl_entries(value):
        new: int | None = named
        if tag in (_ACL_USER, _ACL_GROUP):
            new = uid_of(named) if tag == _ACL_USER else gid_of(named)
        if new is not None:
            changed += _ACL_ENTRY.pack(tag, bits, new)
    return bytes(changed)


def _with_owner_bits(value: bytes, bits: int) -> bytes:
    changed = bytearray(value[: _ACL_HEADER.size])
    for tag, old, named in _acl_entries(value):
        changed += _ACL_ENTRY.pack(tag, bits if tag == _ACL_USER_OBJ else old, named)
    return bytes(changed)


def _acl_entries(value: bytes) -> list[tuple[int, int, int]]:
    """(tag, permission bits, id). Raises OSError: EINVAL."""
    if len(value) < _ACL_HEADER.size or (len(value) - _ACL_HEADER.size) % _ACL_ENTRY.size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return list(_ACL_ENTRY.iter_unpack(value[_ACL_HEADER.size :]))


def acl_mode(value: bytes) -> int:
    """The permission bits that an access control list gives its object."""
    bits = {tag: bits for tag, bits, _ in _acl_entries(value)}
    group = bits.get(_ACL_MASK, bits.get(_ACL_GROUP_OBJ, 0))
    return bits.get(_ACL_USER_OBJ, 0) << _ACL_OWNER_BITS | group << 3 | bits.get(_ACL_OTHER, 0)


def overlap(rows: IdMap) -> bool:
    """Whether `rows` map an id twice, on either side."""
    for side in (0, 1):
        ends = sorted((row[side], row[side] + row[2]) for row in rows)
        if any(end > start for (_, end), (start, _) in pairwise(ends)):
            return True
    return False
