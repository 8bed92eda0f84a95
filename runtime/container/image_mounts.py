"""Images that a container sees beside its own root filesystem (`--mount type=image`): read-only unions.

Each has a driver process, a child of the monitor, that ends with the mount; it holds nothing of the container's.
"""

import os
import signal
from contextlib import suppress
from typing import NamedTuple, NoReturn

from runtime.container import signals
from runtime.container.config import Maps, Volume
from runtime.errors import Refusal
from unionfs.fuse.kernel import detached_mount, open_device
from unionfs.linux import mounts, process
from unionfs.linux.descriptors import close_all_but


class Connection(NamedTuple):
    """What the first process gets, who mounts it."""

    device: int
    """To the kernel."""
    mounted: int
    """Pipe on which the driver hears that it is mounted, or by its end that it won't be."""


class ImageMount(NamedTuple):
    """One of a container's."""

    connection: Connection
    driver: int
    """Pid."""


def serve(volume: Volume, maps: Maps | None) -> ImageMount:
    """Start the driver of a volume that is an image; `maps` as in DriverJob. Raises OSError."""
    device = open_device()
    reader, mounted = os.pipe()
    pid = os.fork()
    if pid == 0:
        _serve(volume, device, reader, maps)
    os.close(reader)
    return ImageMount(Connection(device, mounted), pid)


def mount(volume: Volume, connection: Connection) -> int:
    """The tree of an image, attached nowhere yet, when its driver has said what it can do. Raises Refusal, OSError."""
    attributes = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NODEV
    tree = detached_mount(connection.device, source=b"pyunion", attributes=attributes)
    os.close(connection.device)  # whoever holds it while waiting for the driver can't be killed
    with suppress(BrokenPipeError):  # it has ended, which is heard of below
        os.write(connection.mounted, b"m")
    os.close(connection.mounted)
    try:
        os.stat(b".", dir_fd=tree)
    except OSError as error:
        raise Refusal(f"image {volume.source} at {volume.target}: its driver has failed: {error.strerror}") from None
    return tree


def end(image: ImageMount) -> None:
    """End the driver, which nobody needs any more."""
    with suppress(ProcessLookupError):
        os.kill(image.driver, signal.SIGKILL)
    os.waitpid(image.driver, 0)


def _serve(volume: Volume, device: int, mounted: int, maps: Maps | None) -> NoReturn:
    status = 1
    try:
        close_all_but({0, 1, 2, device, mounted})
        signals.reset()
        process.set_title(f"pyunion: driver of {volume.source}")
        from unionfs.core.opening import open_union
        from unionfs.core.options import UnionOptions
        from unionfs.fuse import serve as serving

        squashed = 0 if maps is not None and maps.only_root else None
        lower = tuple(map(os.fsencode, volume.layers))
        union = open_union(UnionOptions(lower=lower, dialect="auto", squash_uid=squashed, squash_gid=squashed))
        if os.read(mounted, 1):
            serving.serve(union, device)
            status = 0
    finally:
        os._exit(status)
