"""Where a copied-up object came from, as kernel overlayfs records it: the origin xattr and the index of hard links.

An origin is the file handle of the lower inode with the UUID of its filesystem (`struct ovl_fb`,
fs/overlayfs/overlayfs.h). It gives an object of the upper the inode number it had in the lower, also after rename
and remount; its hexadecimal form names the shared upper inode of lower hard links in the directory `index` of
workdir (Documentation/filesystems/overlayfs.rst, "Inode properties" and "Index").
"""

import errno
import os
import struct
from typing import NamedTuple

from unionfs.core.inodes import RealId, kind_of, real_id
from unionfs.linux import fsops
from unionfs.linux.at import At

_MAGIC = 0xFB
_HEADER = struct.Struct("<BBBBB16s")  # version, magic, len, flags, type, uuid
_BIG_ENDIAN = 1
_FLAGS_KNOWN = 0x7
_OWN_UUID = b"pyunion\0"
_NUMBER_ALONE = 0xFE
"""As the type of a file handle: it is the number of the inode."""
_NO_HANDLES = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EOVERFLOW, errno.EINVAL)


# Where the inode's number is in a file handle, by (type, length): ext4 and others, tmpfs, XFS, Btrfs
_NUMBERS = {
    (0x01, 8): struct.Struct("<I4x"),
    (0x01, 12): struct.Struct("<4xQ"),
    (0x81, 12): struct.Struct("<Q4x"),
    (0x4D, 20): struct.Struct("<Q12x"),
    (_NUMBER_ALONE, 8): struct.Struct("<Q"),
}


class Source(NamedTuple):
    """The lower object that an origin means."""

    real: RealId
    kind: int
    """S_IFMT of its mode; 0 where that couldn't be looked at."""
    links: int = 0
    """Its st_nlink; 0 as before."""


class Origins:
    """File handles of the filesystems that the layers are on."""

    def __init__(self) -> None:
        self._uuids: dict[int, tuple[bytes, bytes]] = {}
        """By st_dev: its UUID, and one of ours for the union's first, second, ... filesystem."""
        self._filesystems: dict[bytes, tuple[int, int]] = {}
        """By either: an open directory, and st_dev."""

    def add_layer(self, root: int, device: int) -> None:
        """Know the filesystem of the layer whose root directory is open as `root`; st_dev is `device`."""
        if device in self._uuids:
            return
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        own = _OWN_UUID + len(self._uuids).to_bytes(8, "little")
        uuid = fsops.filesystem_uuid(fd)
        if uuid in self._filesystems:  # copies, or zeros: the kernel records no origin then
            uuid = own
        self._uuids[device] = uuid, own
        self._filesystems[uuid] = self._filesystems[own] = fd, device

    def encode(self, place: At, device: int) -> bytes | None:
        """The origin that means the lower object at `place`; None if it lies on none of the layers' filesystems.

        Where there are no file handles it holds the object's number alone, under a UUID that the kernel passes over.
        Raises OSError: EIO and others by which a copy would lose its number, or hard links each other.
        """
        if device not in self._uuids:
            return None
        uuid, own = self._uuids[device]
        try:
            kind, fid = fsops.name_to_handle(place.dirfd, place.name)
        except OSError as error:
            if error.errno not in _NO_HANDLES:
                raise
            uuid, kind, fid = own, _NUMBER_ALONE, _NUMBERS[_NUMBER_ALONE, 8].pack(place.stat().st_ino)
        return _HEADER.pack(0, _MAGIC, _HEADER.size + len(fid), 0, kind, uuid) + fid

    def decode(self, origin: bytes) -> Source | None:
        """The object that `origin` means, or None: another machine's, deleted, or malformed.

        Where handles may not be opened (user namespaces) the number in it is believed: it is only shown.
        Raises OSError: EIO and others by which the object's number would change.
        """
        if len(origin) < _HEADER.size:
            return None
        version, magic, length, flags, kind, uuid = _HEADER.unpack_from(origin)
        if version or magic != _MAGIC or length != len(origin) or flags & (_BIG_ENDIAN | ~_FLAGS_KNOWN):
            return None
        if uuid not in self._filesystems:
            return None
        mount_fd, device = self._filesystems[uuid]
        fid = origin[_HEADER.size :]
        if kind == _NUMBER_ALONE:
            return _by_number(device, kind, fid)
        try:
            fd = fsops.open_by_handle(mount_fd, fsops.FileHandle(kind, fid))
        except PermissionError:
            return _by_number(device, kind, fid)
        except OSError as error:
            if error.errno not in (*_NO_HANDLES, errno.ESTALE, errno.ENOENT):
                raise
            return None
        try:
            st = os.fstat(fd)
        finally:
            os.close(fd)
        return Source(real_id(st), kind_of(st), st.st_nlink)

    @property
    def descriptors(self) -> list[int]:
        """Everything it has open."""
        return list({fd for fd, _ in self._filesystems.values()})

    def close(self) -> None:
        for fd in self.descriptors:
            os.close(fd)
        self._filesystems.clear()


def _by_number(device: int, kind: int, fid: bytes) -> Source | None:
    layout = _NUMBERS.get((kind, len(fid)))
    return Source((device, layout.unpack(fid)[0]), 0) if layout is not None else None
