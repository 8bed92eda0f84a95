"""What the kernel offers, found out by a mount that nobody sees and that is taken back at once."""

import errno
import os
import select
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from unionfs.fuse import kernel
from unionfs.fuse.direct import passthrough, protocol, session
from unionfs.fuse.direct.device import Device
from unionfs.fuse.direct.protocol import Init, Opcode
from unionfs.fuse.direct.session import Wishes

_PATIENCE_S = 5
_WISHES = Wishes(stack_depth=2)  # as deep as layers may be stacked


class Offer:
    """A connection whose INIT was answered."""

    def __init__(self, fd: int, minor: int, features: Init) -> None:
        self._fd = fd
        self.minor = minor
        """Of the protocol, the kernel's own."""
        self.features = features
        """Those that a mount would use."""

    @property
    def lacking(self) -> Init:
        """Those that it would use beyond, if the kernel had them."""
        best, _ = session.negotiate(protocol.MAJOR, protocol.MINOR, ~Init(0), _WISHES)
        return Init(0) if best is None else best.features & ~self.features

    def pass_through(self, fd: int) -> None:
        """Register the file `fd` for the kernel to read and write, for a moment.

        Raises OSError: EPERM (it takes CAP_SYS_ADMIN in the first user namespace), ENOTTY (the kernel knows no such
        thing), EOPNOTSUPP, ELOOP (its filesystem isn't fit for it).
        """
        if Init.PASSTHROUGH not in self.features:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        passthrough.unregister(self._fd, passthrough.register(self._fd, fd))


@contextmanager
def offered() -> Iterator[Offer]:
    """What a mount by this user would be offered.

    Raises OSError: EPERM (may not mount), ENOENT (has to by fusermount3, which isn't installed), EPROTO (the kernel's
    protocol is too old), ETIMEDOUT, and those of opening the device.
    """
    with _connection() as fd:
        major, minor, features, unique = _init(fd)
        agreed, reply = session.negotiate(major, minor, features, _WISHES)
        if agreed is None:
            raise OSError(errno.EPROTO, f"the kernel speaks FUSE {major}")
        Device(fd).reply(unique, reply)
        yield Offer(fd, minor, agreed.features)


@contextmanager
def _connection() -> Iterator[int]:
    """A mounted connection; mounted on nothing, where that is allowed."""
    if os.geteuid() == 0:
        fd = kernel.open_device()
        try:
            mount = kernel.detached_mount(fd, source=kernel.SUBTYPE)
            try:
                yield fd
            finally:
                os.close(mount)
        finally:
            os.close(fd)
        return
    with tempfile.TemporaryDirectory(prefix="pyunion-") as directory:
        target = os.fsencode(os.path.realpath(directory))
        fd = kernel.fusermount_device(target, [b"fsname=" + kernel.SUBTYPE, b"subtype=" + kernel.SUBTYPE])
        try:
            yield fd
        finally:
            os.close(fd)
            kernel.unmount(target)


def _init(fd: int) -> tuple[int, int, Init, int]:
    """Version and features of the INIT request, and its number."""
    device = Device(fd)
    request = None
    while request is None or request.opcode != Opcode.INIT:
        if not select.select([fd], [], [], _PATIENCE_S)[0]:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        request = device.receive()
    return *session.offered(request), request.unique
