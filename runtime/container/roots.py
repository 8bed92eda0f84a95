"""The root directory of a container, running or not, for who copies files in and out.

Of a running one it is what its processes see, volumes and all. For another the union is mounted for as long as it is
held, on nothing: the mount is a descriptor.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime.container import driver, signals
from runtime.container.record import Container, open_process
from runtime.container.store import Store
from runtime.errors import Refusal
from unionfs.fuse.kernel import detached_mount, open_device
from unionfs.linux import mounts, process
from unionfs.linux.descriptors import close_all_but


@contextmanager
def open_root(store: Store, container: Container) -> Iterator[int]:
    """A descriptor (O_PATH) of it. Raises Refusal."""
    if os.geteuid() != 0:
        raise Refusal("it needs root: nobody else may look into a container from outside", status=1)
    if container.state()["status"] == "running":
        root = _of_running(container)
        try:
            yield root
        finally:
            os.close(root)
        return
    lock = store.take(container)
    try:
        with mounted(container, lock) as root:
            yield root
    finally:
        container.release()
        os.close(lock)


@contextmanager
def mounted(container: Container, lock: int) -> Iterator[int]:
    """The root directory of one that doesn't run, and whose lock we hold. Raises Refusal."""
    root, child = _mount(container, lock)
    try:
        yield root
    finally:
        os.close(root)  # unmounts, which ends the driver
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _of_running(container: Container) -> int:
    pidfd = open_process(container)
    try:
        root = os.open(f"/proc/{container.state()['pid']}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        signal.pidfd_send_signal(pidfd, 0)  # else the number was a stranger's
        return root
    except OSError:
        raise Refusal(f"container {container.config().name} is not running", status=1) from None
    finally:
        os.close(pidfd)


def _mount(container: Container, lock: int) -> tuple[int, int]:
    """The union's root, and the pid of its driver."""
    device = open_device()
    child = os.fork()
    if child == 0:
        _serve(container, device, lock)
    root = detached_mount(device, source=b"pyunion", attributes=mounts.MOUNT_ATTR_NODEV)
    os.close(device)
    try:
        os.stat(b".", dir_fd=root)
    except OSError as error:
        os.close(root)
        os.waitpid(child, 0)
        raise Refusal(f"root filesystem of {container.config().name}: {error.strerror}", status=1) from None
    return root, child


def _serve(container: Container, device: int, lock: int) -> None:
    status = 1
    try:
        close_all_but({0, 1, 2, device, lock})
        signals.reset()
        os.setsid()
        process.set_title(f"pyunion: driver of {container.config().name}")
        from unionfs.fuse.serve import serve

        union = driver.open_root(container, container.config(), None)
        serve(union, device)
        union.close()
        status = 0
    finally:
        os._exit(status)
