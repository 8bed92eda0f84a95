"""Small files of lowers: the kernel gets their content when they are opened, and needn't ask for it.

That saves the READ, and, as the kernel believes that reading changed the time of access, the GETATTR after it. Any
file of a lower is opened in its layer once: when it is opened again, only if the kernel asks for what it hasn't kept.

Like a lookup, this may wait for the layer's disk in the thread that answers all requests. While the disk is slow, and
where the filesystem can't say whether it would wait, as those on a network, READ comes and is answered by a thread.

The disk begins earlier, when a file is looked up, if the one looked up before was opened: then this one will be, too.
Who only looks files up has at most one of them read for nothing.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable

from unionfs.core import objects
from unionfs.core.inodes import File, Handle, Node
from unionfs.core.union import Union
from unionfs.fuse import transfer
from unionfs.fuse.direct import data

Store = Callable[[int, memoryview], None]
"""Gives the kernel the content of a nodeid: Device.store."""

_SMALL_BYTES = 64 << 10
_STALL_S = 0.01
_AVOIDED_FOR_S = 0.1
"""When a read took `_STALL_S`, only what is in memory is given for so long."""


class Preload:
    """Small files of one union, on their way to the kernel."""

    def __init__(self, union: Union, store: Store, *, gives: bool) -> None:
        self._union = union
        self._store = store
        self._gives = gives
        """Whether files of lowers are read through the page cache of the mount."""
        self._buffer = transfer.buffer(_SMALL_BYTES)
        self._avoided_until = 0.0
        """Monotonic seconds."""
        self._unopened = 0
        """The number of what was looked up last, if it wasn't opened yet."""
        self._is_reader = False
        """Whether what was looked up before that was opened."""
        self.expected: File | None = None
        """What `begin` is to be called for, when there is time."""

    def looked_up(self, node: Node, size: int) -> None:
        """Note that the kernel is told of `node`, of so many bytes, by a lookup."""
        if not isinstance(node, File) or node.kind != stat.S_IFREG:
            return
        if self._unopened:
            self._is_reader = False
        self._unopened = node.ino
        if self._is_reader and 0 < size <= _SMALL_BYTES and not (node.was_opened or node.is_upper):
            self.expected = node

    def begin(self) -> None:
        """Have the disk read the file that is expected to be opened next. It isn't waited for, and may fail."""
        node, self.expected = self.expected, None
        assert node is not None
        with contextlib.suppress(OSError):
            fd = objects.locate_data(self._union, node).open(os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(fd)

    def opened(self, nodeid: int, handle: Handle) -> None:
        """`handle` opens a file of a lower: give its content if it is small, not open, and wasn't opened before."""
        node = handle.node
        if node.ino == self._unopened:
            self._unopened, self._is_reader = 0, True
        if not self._gives or node.was_opened:
            return
        node.was_opened = True
        if node.opens == 1:
            self._give(nodeid, handle)

    def _give(self, nodeid: int, handle: Handle) -> None:
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
