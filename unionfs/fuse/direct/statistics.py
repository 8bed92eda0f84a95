"""How many requests of each kind came: counted by the driver of a mount, asked for through the mount itself.

The question is an ioctl of our own on the root directory. So there is no socket to be found, whoever can't reach the
mount can't ask, and a container's root can be asked through /proc/PID/root.
"""

import errno
import fcntl
import os
import struct

from unionfs.fuse.direct.protocol import Opcode

COMMAND = 0x8200E575
"""_IOR(0xE5, 0x75, u64[64]): a count for each opcode. 0xE5 is FUSE's own letter, of which it uses few numbers."""
_COUNTS = struct.Struct("=64Q")
_NOT_OURS = (errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def new_counts() -> list[int]:
    """A count for each opcode that there may be."""
    return [0] * 64


def answer(counts: list[int]) -> bytes:
    """What the ioctl gives."""
    return _COUNTS.pack(*counts)


def named(counts: list[int]) -> dict[str, int]:
    """Those that aren't 0, by name, the largest first."""
    found = {Opcode(opcode).name.lower(): count for opcode, count in enumerate(counts) if count}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def ask(root: bytes) -> dict[str, int]:
    """The requests that the union mounted at `root` got, this question among them.

    Raises OSError: EINVAL (there is none that counts), EPERM (neither root nor its driver's user asks).
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return named(list(_COUNTS.unpack(fcntl.ioctl(fd, COMMAND, bytes(_COUNTS.size)))))
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        hint = "no union that counts its requests is mounted there (binding=direct does)"
        raise OSError(errno.EINVAL, hint, root) from None
    finally:
        os.close(fd)
