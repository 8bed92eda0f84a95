"""What a file may give to those who execute it, and must lose when a stranger writes it."""

import errno
import stat

from unionfs.core import override
from unionfs.core.model import StatLike
from unionfs.linux.at import At

CAPABILITY = b"security.capability"
SET_ID = stat.S_ISUID | stat.S_ISGID


def has_any(place: At, st: StatLike) -> bool:
    """Whether the object at `place`, of the attributes `st`, has set-id bits or capabilities."""
    if st.st_mode & SET_ID:
        return True
    try:
        place.getxattr(CAPABILITY)
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.EOPNOTSUPP)
    return True


def drop_set_id(place: At, st: StatLike, key: bytes = b"") -> None:
    """Take set-id bits and capabilities from the file of the upper at `place`, whose attributes are `st`.

    `key` is the xattr that may hold its mode instead, if the upper has one.

    Also the set-group-id bit of a file that its group may not execute, which a writer of that group leaves elsewhere:
    it gives nobody anything yet. Kernel: fs/inode.c:file_remove_privs(), fs/attr.c:setattr_should_drop_sgid().
    """
    if st.st_mode & SET_ID:
        place.chmod(stat.S_IMODE(st.st_mode) & ~SET_ID)
    owner = override.read(place, key) if key else None
    if owner is not None and owner.mode & SET_ID:
        override.write(place, key, owner._replace(mode=owner.mode & ~SET_ID))
    try:
        place.getxattr(CAPABILITY)  # without privilege even the removal of what isn't there is EPERM
        place.removexattr(CAPABILITY)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
