"""How layers say "deleted" and "nothing below": the marks of kernel overlayfs, of fuse-overlayfs and of AUFS/OCI.

A dialect is what one union reads in its layers and writes to its upper. Whiteouts written are always the kernel's
char 0:0, and marks are written under the first prefix.
"""

import errno
import os
import stat
from typing import NamedTuple

from unionfs.linux.at import At

TRUSTED = b"trusted.overlay."
USER = b"user.overlay."
_FUSE_OVERLAYFS = b"user.fuseoverlayfs."

WH_PREFIX = b".wh."
"""AUFS, and after it the OCI image specification (layer.md, "Whiteouts")."""
WH_OPAQUE = b".wh..wh..opq"

OPAQUE = b"opaque"
REDIRECT = b"redirect"
ORIGIN = b"origin"
IMPURE = b"impure"
NLINK = b"nlink"
METACOPY = b"metacopy"
WHITEOUT = b"whiteout"
PROTATTR = b"protattr"
_ESCAPE = b"overlay."


class Marks(NamedTuple):
    """What a directory of a layer says of the layers below it."""

    opaque: bool = False
    """Nothing below merges with it."""
    redirect: bytes | None = None
    """Where it is called otherwise below: a name, or a path from the root that begins with a slash."""
    xwhiteouts: bool = False
    """Whiteouts in it may be empty files with an xattr."""
    impure: bool = False
    """Objects in it may have been copied up, with or without their data. Kernel: ovl_do_copy_up() marks it first."""


NO_MARKS = Marks()


class Dialect(NamedTuple):
    """The marks one union reads and writes."""

    prefix: bytes
    """Of the xattrs it writes; empty where the upper holds none."""
    prefixes: tuple[bytes, ...]
    """Of the xattrs it reads."""
    wh_names: bool
    """Whether names that begin with `.wh.` are whiteouts."""
    hidden: tuple[bytes, ...] = ()
    """Beginnings of further keys that aren't the users'."""

    def is_reserved(self, name: bytes) -> bool:
        """Whether `name` can't be an object's: it would delete another one's at the next mount."""
        return self.wh_names and name.startswith(WH_PREFIX)

    def is_private(self, key: bytes) -> bool:
        """Whether the xattr `key` of a layer is a mark, and not the users'."""
        return key.startswith(self.prefixes + self.hidden)

    def stored(self, key: bytes) -> bytes:
        """The key under which the users' xattr `key` is kept: marks are escaped, as Linux 6.7 does."""
        if self.prefix and key.startswith(self.prefix):
            return self.prefix + _ESCAPE + key[len(self.prefix) :]
        return key

    def shown(self, key: bytes) -> bytes | None:
        """The users' name of the stored xattr `key`, or None if they may not see it."""
        if not self.is_private(key):
            return key
        escaped = self.prefix + _ESCAPE
        if self.prefix and key.startswith(escaped):
            return self.prefix + key[len(escaped) :]
        return None

    def get(self, place: At, mark: bytes) -> bytes | None:
        """The value of `mark` at `place`, or None."""
        for prefix in self.prefixes:
            try:
                return place.getxattr(prefix + mark)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
                    raise
        return None

    def set(self, place: At, mark: bytes, value: bytes) -> None:
        """Write `mark`. Raises OSError: EOPNOTSUPP where the upper holds no xattrs."""
        if not self.prefix:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        place.despite_mode(lambda: place.setxattr(self.prefix + mark, value))

    def set_opaque(self, directory: At) -> None:
        """Let nothing of the layers below merge with `directory`."""
        if self.prefix:
            self.set(directory, OPAQUE, b"y")
        else:
            name = directory.name + b"/" + WH_OPAQUE if directory.name else WH_OPAQUE
            st = directory.stat()
            os.close(At(directory.dirfd, name).open(os.O_WRONLY | os.O_CREAT, 0o600))
            directory.utime(st.st_atime_ns, st.st_mtime_ns)

    def remove(self, place: At, mark: bytes) -> None:
        """Remove `mark`, if it is there."""
        try:
            place.removexattr(self.prefix + mark)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                raise

    def lacks_data(self, place: At, st: os.stat_result) -> bool:
        """Whether the file at `place`, of attributes `st`, holds metadata alone, its data being in a lower layer.

        Such a file has no blocks, except for one that xattrs may take; others aren't asked. Only root can write what
        is believed here: a user's mark would open any file of the lower layers.
        Kernel: fs/overlayfs/namei.c:ovl_check_metacopy_xattr().
        """
        if not stat.S_ISREG(st.st_mode) or TRUSTED not in self.prefixes:
            return False
        if not st.st_size or st.st_blocks * 512 >= max(st.st_size, st.st_blksize + 1):
            return False
        try:
            place.getxattr(TRUSTED + METACOPY)
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
                return False
            raise
        return True

    def marks(self, directory: At) -> Marks:
        """Read what xattrs of `directory` say of the layers below. Kernel: fs/overlayfs/namei.c:ovl_lookup_single()."""
        opaque = redirect = None
        impure = False
        for key in directory.listxattr():
            for prefix in self.prefixes:
                if key == prefix + OPAQUE:
                    opaque = opaque or directory.getxattr(key)
                elif key == prefix + REDIRECT:
                    redirect = redirect or directory.getxattr(key)
                elif key == prefix + IMPURE:
                    impure = True
        if opaque is None and redirect is None and not impure:
            return NO_MARKS
        return Marks(opaque == b"y", redirect, opaque == b"x", impure)

    def is_hidden(self, dirfd: int, name: bytes) -> bool:
        """Whether a `.wh.` file in the directory `dirfd` says that the layers below have no `name`."""
        return self.wh_names and _exists(At(dirfd, WH_PREFIX + name))

    def is_emptied(self, dirfd: int, name: bytes) -> bool:
        """Whether a `.wh.` file in the directory `name` of `dirfd` says that the layers below have nothing in it."""
        return self.wh_names and _exists(At(dirfd, name + b"/" + WH_OPAQUE))


def overlay_dialect(prefix: bytes) -> Dialect:
    """Exactly what the kernel reads and writes with xattrs under `prefix`."""
    return Dialect(prefix, (prefix,) if prefix else (TRUSTED, USER), wh_names=False)


def any_dialect(prefix: bytes) -> Dialect:
    """Everything that layers in the wild are known to hold."""
    others = tuple(p for p in (TRUSTED, USER, _FUSE_OVERLAYFS) if p != prefix)
    return Dialect(prefix, ((prefix,) if prefix else ()) + others, wh_names=True)


def _exists(place: At) -> bool:
    try:
        place.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return False
        raise
    return True
