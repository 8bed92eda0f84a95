"""The driver process: serves a container's root filesystem, and cleans up if it outlives the monitor.

It is forked before the container's first process, even before it is known what the container is to be, and imports
meanwhile what it needs: that takes longest of all in a container's start.
"""

import gc
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from runtime.container import signals
from runtime.container.config import Config, Maps
from runtime.container.progress import failure_of, send_failure
from runtime.container.record import Container, bury
from runtime.container.store import skeleton
from runtime.container.trace import kept, mark
from runtime.errors import FAILURE
from unionfs.fuse.kernel import open_device
from unionfs.linux import process
from unionfs.linux.descriptors import close_all_but

if TYPE_CHECKING:
    from runtime.container.mapped import Space
    from unionfs.core.union import Union


class DriverJob(NamedTuple):
    """What the monitor hands to its child."""

    container: Container
    device: int
    """The union's connection to the kernel."""
    mounted: int
    """Pipe that says when the configuration is written, then when the union is mounted; or ends before."""
    progress: int
    lock: int
    """The container's lock, held only by being open."""
    monitor: int
    """Pid of the process that forks this one."""
    maps: Maps | None
    """Of the user namespace we are in, if we aren't root."""


class Serving(NamedTuple):
    """A driver from outside."""

    pid: int
    device: int
    """Also ours until the union is mounted."""
    mounted: int
    """To say what it waits for."""
    reader: int
    """What it, and the first process, have to say."""
    progress: int
    """Where the first process says it."""
    user: int
    """The user namespace that the first process is to enter, or -1."""


def fork(container: Container, lock: int, maps: Maps | None, space: "Space | None" = None) -> Serving:
    """Start the driver of a container; begin() has it open the layers. Raises OSError: there is no /dev/fuse.

    `space`: a user namespace of the container's that isn't ours.
    """
    device, user = space or (open_device(), -1)
    mounted_reader, mounted = os.pipe()
    reader, progress = os.pipe()
    us = os.getpid()
    pid = os.fork()
    if pid == 0:
        main(DriverJob(container, device, mounted_reader, progress, lock, us, maps))
    os.close(mounted_reader)
    return Serving(pid, device, mounted, reader, progress, user)


def discard(serving: Serving) -> None:
    """End a driver that wasn't begun."""
    for fd in (serving.device, serving.mounted, serving.reader, serving.progress):
        os.close(fd)
    os.kill(serving.pid, signal.SIGKILL)
    os.waitpid(serving.pid, 0)


def begin(serving: Serving) -> None:
    """The container's configuration is written."""
    with suppress(BrokenPipeError):  # it has ended, which is heard of soon
        os.write(serving.mounted, b"c")


def main(job: DriverJob) -> NoReturn:
    """Serve until the union is unmounted, which the end of the container's mount namespace does."""
    status = FAILURE
    try:
        close_all_but({0, 1, 2, job.device, job.mounted, job.progress, job.lock, *kept()})
        signals.reset()
        process.set_title("pyunion: driver")
        _import()
        if os.read(job.mounted, 1):
            status = _serve_or_report(job)
            if os.getppid() != job.monitor:
                bury(job.container, "its monitor process was killed")
    finally:
        os._exit(status)


def _serve_or_report(job: DriverJob) -> int:
    try:
        _serve(job)
    except Exception as error:
        _report(job, error)
        return FAILURE
    return 0


def _import() -> None:
    from unionfs.core import opening  # noqa: F401  which open_root() needs
    from unionfs.fuse import serve  # noqa: F401
    from unionfs.fuse.direct import server  # noqa: F401  which serve() needs

    gc.freeze()
    gc.enable()
    mark("driver's modules imported")


def _serve(job: DriverJob) -> None:
    from unionfs.fuse.serve import serve

    config = job.container.config()
    process.set_title(f"pyunion: driver of {config.name}")
    union = open_root(job.container, config, job.maps)
    if os.read(job.mounted, 1) and os.getppid() == job.monitor:
        os.close(job.mounted)
        mark("driver serves")
        serve(union, job.device, idmap=False)  # pids are those of the container's namespace
    union.close()


def open_root(container: Container, config: Config, maps: Maps | None) -> "Union":
    """The union that is a container's root filesystem; `maps` as in DriverJob. Raises UnionError, OSError."""
    from unionfs.core.opening import open_union
    from unionfs.core.options import UnionOptions

    layers = [*config.layers, skeleton(container.places)]
    squashed = 0 if maps is not None and maps.only_root else None
    return open_union(
        UnionOptions(
            lower=tuple(map(os.fsencode, layers)),
            upper=os.fsencode(container.upper),
            workdir=os.fsencode(container.workdir),
            dialect="auto",
            volatile=config.auto_remove or config.volatile,
            allow_nested=config.nested,
            userxattr=None if maps is None else True,
            xattr_permissions=0 if maps is None else 2,
            squash_uid=squashed,
            squash_gid=squashed,
        )
    )


def _report(job: DriverJob, error: Exception) -> None:
    """Tell the monitor, unless it is gone: then nobody is left to be told."""
    from unionfs.core.errors import UnionError

    text = str(error) if isinstance(error, UnionError) else failure_of(error).message
    try:
        send_failure(job.progress, FAILURE, f"root filesystem: {text}")
    except BrokenPipeError:
        return
