"""The user namespace of a container that root made one for (`--userns`): its root is nobody on the machine.

A short-lived child makes it, and opens the union's connection to the kernel in there. A connection belongs to the
namespace it was opened in: the kernel tells the driver, which stays outside, the ids that the container's processes
have inside, and shows them those that the driver tells. So the layers and the upper hold the ids seen inside, whatever
they are mapped to, and nothing that is made of them later knows of the map.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runtime.container import namespaces
from runtime.container.config import Config, Maps
from runtime.container.users import User
from runtime.errors import Refusal
from runtime.places import Places
from unionfs.fuse.kernel import open_device
from unionfs.linux import descriptors, mounts, process

if TYPE_CHECKING:
    import socket

_MESSAGE_BYTES = 4096


class Space(NamedTuple):
    """Descriptors."""

    device: int
    """/dev/fuse, opened in it."""
    user: int
    """The namespace."""


def open_space(config: Config, places: Places) -> Space:
    """The namespace of a new container: one with its maps, or another container's. Raises Refusal, OSError."""
    import socket

    assert config.maps is not None
    mode = config.namespaces["user"]
    other = namespaces.process_of(mode, places) if mode != "private" else -1
    near, far = socket.socketpair()
    child = os.fork()
    if child == 0:
        near.close()
        _open_inside(other, far)
    far.close()
    if other >= 0:
        os.close(other)
    try:
        message, fds = descriptors.receive(near, _MESSAGE_BYTES, 2)
        if len(fds) != 2:
            raise Refusal(f"--userns: {message.decode(errors='replace') or 'a process of ours was killed'}")
        if other < 0:
            _write_maps(config.maps, child)
    finally:
        near.close()
        os.waitpid(child, 0)
    return Space(*fds)


def _open_inside(other: int, channel: "socket.socket") -> None:
    """Enter a new namespace, or that of the process `other`; send both descriptors, and stay until that was heard."""
    import socket

    try:
        if other < 0:
            process.unshare(process.CLONE_NEWUSER)
            process.make_dumpable()  # an ordinary user's monitor may only set the maps of such a process
        else:
            process.setns(other, process.CLONE_NEWUSER)
        user = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        socket.send_fds(channel, [b"u"], [open_device(), user])
        channel.recv(1)
    except OSError as error:
        channel.send(f"a user namespace can't be had here: {error.strerror}".encode())
    finally:
        os._exit(0)


def _write_maps(maps: Maps, pid: int) -> None:
    for name, rows in zip(("uid_map", "gid_map"), maps, strict=True):
        text = "".join(f"{first} {outside} {count}\n" for first, outside, count in rows)
        try:
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            raise Refusal(f"--{name.replace('_', '')} {text.split(chr(10))[0]!r}: {error.strerror}") from None


def enter(user: int, planned: namespaces.Plan, born: int) -> None:
    """Go on in the user namespace `user` and the container's pid namespace, as a sibling of the process that called.

    That one writes the sibling's pid to `born`, and ends. A process that enters a user namespace makes new namespaces
    that belong to it, but remains in its pid namespace; and the first one of a new one must be the monitor's child.
    """
    for pidfd, flag in planned.joined:
        if flag == process.CLONE_NEWPID:
            process.setns(pidfd, flag)
    process.setns(user, process.CLONE_NEWUSER)
    child = process.fork(process.CLONE_PARENT | (process.CLONE_NEWPID if planned.own_pids else 0))
    if child:
        os.write(born, b"%d" % child)
        os._exit(0)
    os.close(user)
    os.close(born)


def shared_memory(pidfd: int) -> int:
    """What a container with a user namespace of its own has at /dev/shm, as a detached mount. Raises Refusal."""
    import socket

    near, far = socket.socketpair()
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            process.setns(pidfd, process.CLONE_NEWUSER | process.CLONE_NEWNS)
            become_root()
            socket.send_fds(far, [b"s"], [mounts.open_tree(None, b"/dev/shm")])
        os._exit(0)
    far.close()
    _, fds = descriptors.receive(near, 1, 1)
    near.close()
    os.waitpid(child, 0)
    if not fds:
        raise Refusal("--ipc: the /dev/shm of the other container can't be shared")
    return fds[0]


def give_to_root(config: Config, fds: Iterable[int]) -> None:
    """Have root of the container's user namespace own pipes, so that it can give them to the command's user."""
    if config.maps is not None:
        for fd in {*fds} - {-1}:
            os.fchown(fd, *config.maps.root)


def become_root() -> None:
    """Be root of the user namespace we are in, and nobody else. The parent-death signal and `dumpable` are lost."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def born(child: int, reader: int) -> int:
    """The pid of the sibling that enter() made of `child`; that of `child` if it ended before."""
    with os.fdopen(reader, "rb") as file:
        pid = file.read()
    if not pid:
        return child
    os.waitpid(child, 0)
    return int(pid)


def as_possible(maps: Maps, user: User) -> User:
    """`user` as a namespace can have him: of one id, there are no groups. Raises Refusal: there is no such user."""
    if maps.only_root:
        if (user.uid, user.gid) != (0, 0):
            reason = "newuidmap is not installed, or /etc/subuid and /etc/subgid give you no ids"
            raise Refusal(f"user {user.uid}:{user.gid}: there is root alone, for {reason}")
        return user._replace(groups=[])
    if not maps.has_uid(user.uid):
        raise Refusal(f"user {user.uid}: its user namespace has no such id")
    for group in (user.gid, *user.groups):
        if not maps.has_gid(group):
            raise Refusal(f"group {group}: its user namespace has no such id")
    return user
