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
_WITHOUT_UUID = b"f_fsid\0\0"
_NO_HANDLES = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EOVERFLOW, errno.EINVAL)


# Where the inode's number is in a file handle, by (type, length): ext4 and others, tmpfs, XFS, Btrfs
_NUMBERS = {
    (0x01, 8): struct.Struct("<I4x"),
    (0x01, 12): struct.Struct("<4xQ"),
    (0x81, 12): struct.Struct("<Q4x"),
    (0x4D, 20): struct.Struct("<Q12x"),
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
        self._uuids: dict[int, bytes | None] = {}
        """By st_dev; None where another filesystem can't be told apart."""
        self._filesystems: dict[bytes, tuple[int, int]] = {}
        """By UUID: an open directory, and st_dev."""

    def add_layer(self, root: int, device: int) -> None:
        """Know the filesystem of the layer whose root directory is open as `root`; st_dev is `device`."""
        if device in self._uuids:
            return
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        uuid = fsops.filesystem_uuid(fd)
        if uuid in self._filesystems:  # copies, or zeros: the kernel records no origin then
            uuid = _WITHOUT_UUID + _fsid(fd)
        if uuid in self._filesystems:
            self._uuids[device] = None
            os.close(fd)
        else:
            self._uuids[device] = uuid
            self._filesystems[uuid] = fd, device

    def encode(self, place: At, device: int) -> bytes | None:
        """The origin that means the lower object at `place`, or None where its filesystem has no handles.

        Raises OSError: EIO and others by which a copy would lose its number, or hard links each other.
        """
        uuid = self._uuids.get(device)
        if uuid is None:
            return None
        try:
            handle = fsops.name_to_handle(place.dirfd, place.name)
        except OSError as error:
            if error.errno not in _NO_HANDLES:
                raise
            return None
        return _HEADER.pack(0, _MAGIC, _HEADER.size + len(handle.fid), 0, handle.type, uuid) + handle.fid

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
        try:
            fd = fsops.open_by_handle(mount_fd, fsops.FileHandle(kind, fid))
        except PermissionError:
            layout = _NUMBERS.get((kind, len(fid)))
            return Source((device, layout.unpack(fid)[0]), 0) if layout is not None else None
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
        return [fd for fd, _ in self._filesystems.values()]

    def close(self) -> None:
        for fd in self.descriptors:
            os.close(fd)
        self._filesystems.clear()


def _fsid(fd: int) -> bytes:
    try:
        return os.fstatvfs(fd).f_fsid.to_bytes(8, "little")
    except OSError:  # a FUSE filesystem needn't have statfs
        return bytes(8)
