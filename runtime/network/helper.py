"""The helper process of a container: serves its published ports and its names, as long as its monitor lives.

A process of its own because it works in threads, and because it holds a socket inside the container: should one of
its many clients bring it down, the container goes on. It is forked after its sockets are bound, so it is ready when
it exists. Without ports and names to serve there is none.
"""

import os
import signal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from runtime.names import SHORT_ID
from runtime.network.ports import Reserved
from runtime.places import Places
from unionfs.linux import process
from unionfs.linux.descriptors import close_all_but

if TYPE_CHECKING:
    from runtime.network.resolver import Directory


def fork(
    places: Places,
    identity: str,
    reserved: Sequence[Reserved],
    names: tuple[socket.socket, socket.socket] | None,
    netns: int = -1,
) -> tuple[int, int]:
    """Start the helper with sockets of this process: its pid, and when it started.

    It connects to the container from this machine, or from inside the network namespace `netns`.
    """
    us = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            if netns >= 0:
                process.setns(netns, process.CLONE_NEWNET)
            _be_helper(places, identity, reserved, names, us)
        finally:
            os._exit(1)
    return pid, process.start_ticks(pid)


def end(pid: int, ticks: int) -> None:
    """End the helper; return when its sockets are closed."""
    from contextlib import suppress

    with suppress(ProcessLookupError):
        pidfds = [process.open_pidfd(pid, ticks)]
        process.kill_all(pidfds)
        process.close_at_end(pidfds)
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _be_helper(
    places: Places,
    identity: str,
    reserved: Sequence[Reserved],
    names: tuple[socket.socket, socket.socket] | None,
    parent: int,
) -> NoReturn:
    process.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    process.set_title(f"pyunion: ports and names of {identity[:SHORT_ID]}")
    kept = [one.socket.fileno() for one in reserved] + [one.fileno() for one in names or ()]
    close_all_but({0, 1, 2, *kept})
    from runtime.network import forward
    from runtime.network.resolver import Directory, Resolver

    directory = Directory(places, identity)

    def target_of(port: int) -> forward.Target:
        return lambda family: (_address(directory, family), port)

    for one in reserved:
        forward.start(one.socket, target_of(one.publish.port))
    if names is not None:
        Resolver(directory).start(*names)
    while True:
        signal.pause()


def _address(directory: "Directory", family: int) -> str:
    """The container's address, of that family if it has one. Raises OSError if it is on no network."""
    endpoint = directory.own().published()
    preferred = 6 if family == socket.AF_INET6 else 4
    for version in (preferred, 10 - preferred):
        if endpoint is not None and (address := endpoint.address(version)):
            return str(address)
    raise OSError("on no network")
