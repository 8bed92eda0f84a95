"""A private, detached view of a directory tree: the mount without its submounts, read-only."""

import os

from unionfs.linux import mounts


def detached_clone(path: bytes) -> int:
    """An O_PATH descriptor of a read-only, noatime clone of the mount at `path`, without its submounts.

    Nobody else sees the clone; it goes with its last descriptor. Raises OSError: EPERM (needs CAP_SYS_ADMIN),
    EINVAL (unprivileged namespaces whose mounts are locked), ENOSYS (before Linux 5.12), and those of a path walk.
    Kernel: fs/namespace.c:open_detached_copy(). fs/overlayfs clones its layers the same way.
    """
    fd = mounts.open_tree(None, path, follow=True)
    try:
        mounts.set_attributes(fd, mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOATIME)
    except OSError:
        os.close(fd)
        raise
    return fd
