"""What a file may give to those who execute it, and must lose when a stranger writes it."""

import errno
import stat

from unionfs.core.model import StatLike
from unionfs.linux.at import At

CAPABILITY = b"security.capability"
SET_ID = stat.S_ISUID | stat.S_ISGID


def drop_set_id(place: At, st: StatLike) -> None:
    """Take set-id bits and capabilities from the file of the upper at `place`, whose attributes are `st`.

    A set-group-id bit without group execution means mandatory locking, and stays.
    Kernel: fs/inode.c:file_remove_privs(), fs/attr.c:setattr_should_drop_sgid().
    """
    bits = st.st_mode & stat.S_ISUID
    if st.st_mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP:
        bits |= stat.S_ISGID
    if bits:
        place.chmod(stat.S_IMODE(st.st_mode) & ~bits)
    try:
        place.getxattr(CAPABILITY)  # without privilege even the removal of what isn't there is EPERM
        place.removexattr(CAPABILITY)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
