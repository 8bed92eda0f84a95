"""Small files of lowers: the kernel gets their content when they are opened, and needn't ask for it.

That saves the READ, and, as the kernel believes that reading changed the time of access, the GETATTR after it. A file
whose content was given is not opened in its layer until the kernel asks for what it has dropped: each further open and
release of it makes no system call here.

Like a lookup, this may wait for the layer's disk in the thread that answers all requests. While the disk is slow, and
where the filesystem can't say whether it would wait, as those on a network, READ comes and is answered by a thread.
"""

import errno
import os
import time
from collections.abc import Callable

from unionfs.core.inodes import Handle
from unionfs.fuse.direct import data

Store = Callable[[int, memoryview], None]
"""Gives the kernel the content of a nodeid: Device.store."""

_SMALL_BYTES = 64 << 10
_STALL_S = 0.005
_AVOIDED_FOR_S = 1.0
"""When a read took `_STALL_S`, only what is in memory is given for so long."""


class Preload:
    """Gives the kernel the content of small files."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buffer = memoryview(bytearray(_SMALL_BYTES))
        self._avoided_until = 0.0
        """Monotonic seconds."""

    def give(self, nodeid: int, handle: Handle) -> None:
        """Give the content of the file `handle` of a lower, if it is a small one and nobody else has it open."""
        node = handle.node
        if node.is_given or node.opens != 1:
            return
        st = os.fstat(handle.fd)
        if not 0 < st.st_size <= _SMALL_BYTES:
            return
        content = self._buffer[: st.st_size]
        try:
            count = self._read(handle.fd, st.st_dev, content)
        except OSError:
            return  # whoever reads it is told
        if count == st.st_size:
            self._store(nodeid, content)
            node.is_given = True

    def _read(self, fd: int, device: int, content: memoryview) -> int:
        """Fill `content` from `fd`, a file of the filesystem `device`, as far as it may wait; the number of bytes."""
        count = 0
        try:
            count = os.preadv(fd, [content], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or data.may_wait(device):
                raise
        started = time.monotonic()
        if count < len(content) and started >= self._avoided_until:
            count = os.preadv(fd, [content], 0)
            ended = time.monotonic()
            if ended > started + _STALL_S:
                self._avoided_until = ended + _AVOIDED_FOR_S
        return count
