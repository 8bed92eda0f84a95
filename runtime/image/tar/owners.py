"""How owners, modes and devices are kept in a layer: as they are by root, in xattrs by others."""

import os
from typing import Protocol

from runtime.image.tar.members import BLOCK, CHAR, FIFO, FORMATS, Member
from runtime.rights import refuse_root_of_a_namespace
from unionfs.core import override
from unionfs.core.dialect import TRUSTED, USER
from unionfs.linux.at import At

_WORDS = {CHAR: b"char", BLOCK: b"block"}


class Owners(Protocol):
    """The two ways."""

    prefix: bytes
    """Of the marks of overlayfs that the layer has."""

    def begin(self, root: int) -> None:
        """Prepare the layer whose root directory is `root`."""

    def give(self, place: At, member: Member) -> None:
        """Owner and mode to a new file or directory."""

    def give_link(self, directory: int, name: bytes, member: Member) -> None:
        """Owner to a new symlink."""

    def make_node(self, directory: int, name: bytes, member: Member) -> None:
        """A device or FIFO. Raises FileExistsError."""


class RealOwners:
    """What root can do."""

    prefix = TRUSTED

    def begin(self, root: int) -> None:
        pass

    def give(self, place: At, member: Member) -> None:
        target = place.dirfd if not place.name else place.path
        os.chown(target, member.uid, member.gid)
        os.chmod(target, member.mode)

    def give_link(self, directory: int, name: bytes, member: Member) -> None:
        os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)

    def make_node(self, directory: int, name: bytes, member: Member) -> None:
        os.mknod(name, FORMATS[member.kind] | 0o600, os.makedev(*member.device), dir_fd=directory)
        os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)
        os.chmod(name, member.mode, dir_fd=directory)


class OverrideOwners:
    """What an ordinary user can do: nothing is really another's, set-id or a device."""

    prefix = USER
    key = override.CONTAINERS

    def begin(self, root: int) -> None:
        place = At(root)
        override.write(place, self.key, override.Owner(0, 0, 0o755))

    def give(self, place: At, member: Member) -> None:
        override.give(place, self.key, override.Owner(member.uid, member.gid, member.mode, self._kind(member)))

    def give_link(self, directory: int, name: bytes, member: Member) -> None:
        pass  # symlinks hold no such xattrs

    def make_node(self, directory: int, name: bytes, member: Member) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            self.give(At(fd), member)
        finally:
            os.close(fd)

    def _kind(self, member: Member) -> bytes:
        if member.kind == FIFO:
            return b"pipe"
        return b"%s-%d-%d" % (_WORDS[member.kind], *member.device) if member.kind in _WORDS else b""


def owners_here() -> Owners:
    """The way this process has. Raises Refusal: root of a user namespace has none."""
    refuse_root_of_a_namespace()
    return RealOwners() if os.geteuid() == 0 else OverrideOwners()
