"""Which namespaces a container has of its own, and how its processes get into those of others.

A configuration names the kinds that aren't its own: `host`, or `container:ID`. Others' are joined through a pidfd, so
that no stranger who got the number meanwhile is taken for the container.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from runtime.container import control
from runtime.container.config import Config
from runtime.container.record import Container, open_process
from runtime.errors import Refusal
from runtime.places import Places
from unionfs.linux import descriptors, mounts, process

FLAGS = {
    "ipc": process.CLONE_NEWIPC,
    "uts": process.CLONE_NEWUTS,
    "net": process.CLONE_NEWNET,
    "pid": process.CLONE_NEWPID,
    "cgroup": process.CLONE_NEWCGROUP,
}
_OF_OTHERS = "container:"
KINDS = ("user", "pid", "ipc", "uts", "net", "cgroup", "time", "mnt")
"""In the order in which they are entered one by one: the user namespace first, for the right to; the mounts last."""


class Plan(NamedTuple):
    """What a new container's first process unshares and joins."""

    new: int
    """CLONE_NEW*, the pid namespace left out."""
    own_pids: bool
    joined: list[tuple[int, int]]
    """pidfd, or an ordinary user's descriptor of the namespace; CLONE_NEW*: to be joined before."""
    mounts: int = -1
    """The same of the mounts of the container whose ipc namespace is joined."""

    def descriptors(self) -> set[int]:
        return {self.mounts, *(fd for fd, _ in self.joined)} - {-1}


def plan(config: Config, places: Places, is_root: bool) -> Plan:
    """What `config` asks for. Raises Refusal: a container whose namespace is wanted doesn't run."""
    new, joined, mounts_of = process.CLONE_NEWNS, [], -1
    for kind, flag in FLAGS.items():
        mode = config.namespaces.get(kind, "private")
        if mode.startswith(_OF_OTHERS):
            doors = _doors_of(mode, places, is_root)
            joined.append((doors.to(kind), flag))
            mounts_of = doors.to("mnt") if kind == "ipc" else mounts_of
            doors.close_all_but(joined[-1][0], mounts_of)
        elif mode == "private" and kind != "pid":
            new |= flag
    return Plan(new, config.namespaces.get("pid", "private") == "private", joined, mounts_of)


def process_of(mode: str, places: Places) -> int:
    """A pidfd of the first process of the one that `container:ID` names. Raises Refusal: it doesn't run."""
    return _doors_of(mode, places, is_root=True).pidfd


def _doors_of(mode: str, places: Places, is_root: bool) -> "Doors":
    container = Container(places, mode.removeprefix(_OF_OTHERS))
    try:
        doors = open_doors(container, is_root)
    except Refusal as error:
        raise Refusal(str(error)) from None  # it is the new container's failure
    if doors.fds and not os.path.samestat(os.fstat(doors.to("user")), os.stat("/proc/self/ns/user")):
        name = container.config().name
        raise Refusal(f"container {name} is in another user namespace: those that share anything share that, too")
    return doors


def others(config: Config) -> list[str]:
    """The ids of the containers of which it is to share something."""
    modes = config.namespaces.values()
    return [mode.removeprefix(_OF_OTHERS) for mode in modes if mode.startswith(_OF_OTHERS)]


def users_of(identities: Sequence[str], places: Places) -> int:
    """The user namespace of the first of these containers that runs, or -1."""
    for identity in identities:
        with suppress(Refusal):  # plan() tells of it, where it is heard
            doors = open_doors(Container(places, identity), is_root=False)
            doors.close_all_but(doors.to("user"))
            return doors.to("user")
    return -1


def join_others(planned: Plan) -> int:
    """Enter the namespaces of other containers; of pid namespaces the caller has seen to.

    The result is the /dev/shm of the container whose ipc namespace this is, as a detached mount, or -1.
    """
    shared = -1
    if planned.mounts >= 0:
        process.unshare(process.CLONE_NEWNS)  # for the right to come back to it
        shared = _shared_memory(planned.mounts)
    for fd, flag in planned.joined:
        if flag != process.CLONE_NEWPID:
            process.setns(fd, flag)
    return shared


def _shared_memory(mounts_of: int) -> int:
    """What another container has at /dev/shm: only from within its mount namespace can it be cloned."""
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.setns(mounts_of, process.CLONE_NEWNS)
        return mounts.open_tree(None, b"/dev/shm")
    except PermissionError:  # its root is for those in its user namespace
        from runtime.container import mapped

        return mapped.shared_memory(mounts_of)
    finally:
        process.setns(ours, process.CLONE_NEWNS)
        os.close(ours)


def set_clocks(clocks: Mapping[str, int]) -> None:
    """Enter a new time namespace whose clocks differ by that many seconds. Precondition: dumpable. Raises Refusal."""
    try:
        process.unshare(process.CLONE_NEWTIME)  # for children alone, as yet: offsets can be set until somebody is in it
        for name, seconds in clocks.items():
            with open("/proc/self/timens_offsets", "w") as file:
                file.write(f"{name} {seconds} 0")
        own = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
        process.setns(own, process.CLONE_NEWTIME)
        os.close(own)
    except OSError as error:
        text = " ".join(f"{name}={seconds}" for name, seconds in clocks.items())
        raise Refusal(f"--time-offset {text}: {error.strerror}") from None


def fork(planned: Plan) -> int:
    """fork(2), the child being in the container's pid namespace; other children of ours aren't. Raises Refusal."""
    if planned.own_pids:
        return process.fork(process.CLONE_NEWPID)
    joined = [fd for fd, flag in planned.joined if flag == process.CLONE_NEWPID]
    return _fork_into(joined[0]) if joined else os.fork()


def _fork_into(pids: int) -> int:
    """A child in another's pid namespace is made by one who goes there, since only root could come back."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            process.setns(pids, process.CLONE_NEWPID)
            child = process.fork(process.CLONE_PARENT)
        except OSError:
            os._exit(1)
        if child == 0:
            return 0
        os.write(writer, b"%d" % child)
        os._exit(0)
    os.close(writer)
    number = os.read(reader, 16)
    os.close(reader)
    os.waitpid(between, 0)
    if not number:
        raise Refusal("the container whose pid namespace is wanted has ended")
    return int(number)


def send(channel: int) -> None:
    """Hand this process's own namespaces to the other end of the socket `channel`, in the order of KINDS."""
    import socket

    fds = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KINDS]
    with socket.socket(fileno=channel) as connection:
        socket.send_fds(connection, [b"n"], fds)
    for fd in fds:
        os.close(fd)


def receive(channel: int) -> list[int]:
    """What send() handed over at the other end of `channel`, which is closed."""
    import socket

    with socket.socket(fileno=channel) as connection:
        _, fds = descriptors.receive(connection, 1, len(KINDS))
    return fds


class Doors(NamedTuple):
    """The way into a running container."""

    pidfd: int
    """Of its first process: root's way."""
    fds: list[int]
    """Its namespaces, in the order of KINDS: an ordinary user's, who may not look into that process."""
    within: bool = False
    """Whether the one who goes in is in its user namespace already."""

    def to(self, kind: str) -> int:
        """What setns(2) takes for that namespace."""
        return self.fds[KINDS.index(kind)] if self.fds else self.pidfd

    def descriptors(self) -> set[int]:
        return {self.pidfd, *self.fds}

    def close_all_but(self, *fds: int) -> None:
        """Whoever keeps one of its mounts keeps the container's root filesystem from being unmounted."""
        for fd in self.descriptors() - {*fds}:
            os.close(fd)


def open_doors(container: Container, is_root: bool) -> Doors:
    """For root of this machine, or an ordinary user. Raises Refusal: it doesn't run."""
    pidfd = open_process(container)
    fds = [] if is_root else control.ask_namespaces(container.run_directory)
    if not fds and not is_root:
        raise Refusal(f"container {container.config().name} is not running", status=1)
    return Doors(pidfd, fds)


def join_pids(doors: Doors, config: Config) -> None:
    """Have the next child of this process be in the pid namespace of a running container. Raises Refusal: it ended.

    An ordinary user's process is in the container's user namespace then.
    """
    if doors.fds and not doors.within:
        process.setns(doors.to("user"), process.CLONE_NEWUSER)
    if config.namespaces.get("pid") == "host":
        return
    if doors.fds:
        process.setns(doors.to("pid"), process.CLONE_NEWPID)
    else:
        _join(doors.pidfd, config, process.CLONE_NEWPID)


def join(doors: Doors, config: Config) -> None:
    """Enter the other namespaces of a running container, as root of its own user namespace. Raises Refusal: it ended.

    The parent-death signal and `dumpable` are lost in a user namespace of its own.
    """
    shared = {kind for kind, mode in config.namespaces.items() if mode == "host"}
    shared |= set() if config.clocks else {"time"}
    if doors.fds:
        for kind, fd in zip(KINDS[2:], doors.fds[2:], strict=True):
            if kind not in shared:
                process.setns(fd, 0)
    else:
        flags = [flag for kind, flag in FLAGS.items() if kind != "pid" and kind not in shared]
        flags += [process.CLONE_NEWUSER] if config.maps is not None else []
        flags += [process.CLONE_NEWTIME] if config.clocks else []
        _join(doors.pidfd, config, process.CLONE_NEWNS | sum(flags))
    if config.maps is not None:
        from runtime.container import mapped

        mapped.become_root()  # the union answers nobody who has no id in its namespace
    os.chdir("/")


def no_way_in(config: Config) -> Refusal:
    """What the kernel's EPERM for root means: our processes inside aren't dumpable, see ptrace(2)."""
    return Refusal(f"container {config.name} can't be entered: it takes the capability SYS_PTRACE", status=1)


def _join(pidfd: int, config: Config, flags: int) -> None:
    try:
        process.setns(pidfd, flags)
    except ProcessLookupError:
        raise Refusal(f"container {config.name} is not running", status=1) from None
    except PermissionError:
        raise no_way_in(config) from None
