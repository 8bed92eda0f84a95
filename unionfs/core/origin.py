"""Where a copied-up object came from, as kernel overlayfs records it: the origin xattr and the index of hard links.

An origin is the file handle of the lower inode with the UUID of its filesystem (`struct ovl_fb`,
fs/overlayfs/overlayfs.h). It gives an object of the upper the inode number it had in the lower, also after rename
and remount; its hexadecimal form names the shared upper inode of lower hard links in the directory `index` of
workdir (Documentation/filesystems/overlayfs.rst, "Inode properties" and "Index").
"""

import os
import struct

from unionfs.linux import fsops
from unionfs.linux.at import At

_MAGIC = 0xFB
_HEADER = struct.Struct("<BBBBB16s")  # version, magic, len, flags, type, uuid
_BIG_ENDIAN = 1
_FLAGS_KNOWN = 0x7


class Origins:
    """File handles of the filesystems that the layers are on."""

    def __init__(self) -> None:
        self._by_device: dict[int, bytes] = {}
        self._by_uuid: dict[bytes, int] = {}

    def add_layer(self, root: int, device: int) -> None:
        """Know the filesystem of the layer whose root directory is open as `root`; st_dev is `device`."""
        if device in self._by_device:
            return
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        uuid = fsops.filesystem_uuid(fd)
        self._by_device[device] = uuid
        if uuid in self._by_uuid:
            os.close(fd)
        else:
            self._by_uuid[uuid] = fd

    def encode(self, place: At, device: int) -> bytes | None:
        """The origin that means the lower object at `place`, or None where its filesystem has no handles."""
        try:
            handle = fsops.name_to_handle(place.dirfd, place.name)
        except OSError:
            return None
        uuid = self._by_device.get(device, bytes(16))
        return _HEADER.pack(0, _MAGIC, _HEADER.size + len(handle.fid), 0, handle.type, uuid) + handle.fid

    def decode(self, origin: bytes) -> os.stat_result | None:
        """The object that `origin` means, or None: another machine's, deleted, malformed, or not ours to open."""
        if len(origin) < _HEADER.size:
            return None
        version, magic, length, flags, kind, uuid = _HEADER.unpack_from(origin)
        if version or magic != _MAGIC or length != len(origin) or flags & (_BIG_ENDIAN | ~_FLAGS_KNOWN):
            return None
        mount_fd = self._by_uuid.get(uuid)
        if mount_fd is None:
            return None
        try:
            fd = fsops.open_by_handle(mount_fd, fsops.FileHandle(kind, origin[_HEADER.size :]))
        except OSError:
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        for fd in self._by_uuid.values():
            os.close(fd)
        self._by_uuid.clear()
