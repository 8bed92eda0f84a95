"""The root directory of a container, running or not, for who copies files in and out.

Of a running one it is what its processes see, volumes and all. For another the union is mounted for as long as it is
held, on nothing: the mount is a descriptor. An ordinary user's process enters the container's user namespace for it,
or a new one of the same ids, and stays there: owners are as in the container from then on.
"""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime.container import driver, namespaces, signals, userns
from runtime.container.config import Maps
from runtime.container.record import Container, open_process
from runtime.container.store import Store
from runtime.errors import Refusal
from unionfs.fuse.kernel import detached_mount, open_device
from unionfs.linux import mounts, process
from unionfs.linux.descriptors import close_all_but, receive
from unionfs.linux.sockets import packet_pair


@contextmanager
def open_root(store: Store, container: Container) -> Iterator[int]:
    """A descriptor (O_PATH) of it. Raises Refusal. Precondition: a single thread."""
    lock = _take_unless_it_runs(store, container)
    if lock < 0:
        root = _of_running(container) if os.geteuid() == 0 else _from_within(container)
        try:
            yield root
        finally:
            os.close(root)
        return
    maps = _become_its_root() if os.geteuid() != 0 else None
    try:
        with mounted(container, lock, maps) as root:
            yield root
    finally:
        container.release()
        os.close(lock)


def _take_unless_it_runs(store: Store, container: Container) -> int:
    """Its lock, or -1. Raises Refusal: another command has it."""
    try:
        return -1 if _runs(container) else store.take(container)
    except Refusal:
        if not _runs(container):
            raise
        return -1  # started meanwhile


def _runs(container: Container) -> bool:
    return bool(container.state()["status"] == "running")


@contextmanager
def mounted(container: Container, lock: int, maps: Maps | None = None) -> Iterator[int]:
    """The root directory of one that doesn't run, and whose lock we hold; `maps` as in DriverJob. Raises Refusal."""
    root, child = _mount(container, lock, maps)
    try:
        yield root
    finally:
        os.close(root)  # unmounts, which ends the driver
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def enter(container: Container) -> None:
    """Enter the user namespace of a container that runs in one of its own, to stay: its files are for that alone."""
    if container.config().maps is None or not _runs(container):
        return
    from runtime.container import mapped

    process.make_undumpable()
    if os.geteuid() == 0:  # else _from_within() has brought us there
        pidfd = open_process(container)
        process.setns(pidfd, process.CLONE_NEWUSER)
        os.close(pidfd)
    mapped.become_root()


def _of_running(container: Container) -> int:
    pidfd = open_process(container)
    try:
        root = os.open(f"/proc/{container.state()['pid']}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        signal.pidfd_send_signal(pidfd, 0)  # else the number was a stranger's
        return root
    except PermissionError:
        raise namespaces.no_way_in(container.config()) from None
    except OSError:
        raise Refusal(f"container {container.config().name} is not running", status=1) from None
    finally:
        os.close(pidfd)


def _from_within(container: Container) -> int:
    """The same for an ordinary user, who may not look in from outside: a child goes in and hands it out."""
    doors = namespaces.open_doors(container, is_root=False)
    process.setns(doors.to("user"), process.CLONE_NEWUSER)
    ours, theirs = packet_pair()
    child = os.fork()
    if child == 0:
        try:
            process.setns(doors.to("mnt"), process.CLONE_NEWNS)
            with socket.socket(fileno=theirs) as channel:
                socket.send_fds(channel, [b"r"], [os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)])
        finally:
            os._exit(0)
    os.close(theirs)
    with socket.socket(fileno=ours) as channel:
        _, fds = receive(channel, 1, 1)
    os.waitpid(child, 0)
    doors.close_all_but()
    if not fds:
        raise Refusal(f"container {container.config().name} is not running", status=1)
    return fds[0]


def _become_its_root() -> Maps:
    """Be root of a user namespace as the container's is, who may mount."""
    try:
        maps = userns.become_root()
        process.unshare(process.CLONE_NEWNS)
    except OSError as error:
        raise Refusal(f"a user namespace can't be had here: {error.strerror or error}", status=1) from None
    return maps


def _mount(container: Container, lock: int, maps: Maps | None) -> tuple[int, int]:
    """The union's root, and the pid of its driver."""
    device = open_device()
    root = detached_mount(device, source=b"pyunion", attributes=mounts.MOUNT_ATTR_NODEV)  # else there is none to serve
    child = os.fork()
    if child == 0:
        _serve(container, device, lock, maps)
    os.close(device)
    try:
        os.stat(b".", dir_fd=root)
    except OSError as error:
        os.close(root)
        os.waitpid(child, 0)
        raise Refusal(f"root filesystem of {container.config().name}: {error.strerror}", status=1) from None
    return root, child


def _serve(container: Container, device: int, lock: int, maps: Maps | None) -> None:
    status = 1
    try:
        close_all_but({0, 1, 2, device, lock})
        signals.reset()
        os.setsid()
        process.set_title(f"pyunion: driver of {container.config().name}")
        from unionfs.fuse.serve import serve

        union = driver.open_root(container, container.config(), maps)
        serve(union, device)
        union.close()
        status = 0
    finally:
        os._exit(status)
