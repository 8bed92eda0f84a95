"""Which namespaces a container has of its own, and how its processes get into those of others.

A configuration names the kinds that aren't its own: `host`, or `container:ID`. Others' are joined through a pidfd, so
that no stranger who got the number meanwhile is taken for the container.
"""

import os
from typing import NamedTuple

from runtime.container.config import Config
from runtime.container.record import Container, open_process
from runtime.errors import Refusal
from runtime.places import Places
from unionfs.linux import mounts, process

FLAGS = {
    "ipc": process.CLONE_NEWIPC,
    "uts": process.CLONE_NEWUTS,
    "net": process.CLONE_NEWNET,
    "pid": process.CLONE_NEWPID,
    "cgroup": process.CLONE_NEWCGROUP,
}
_OF_OTHERS = "container:"


class Plan(NamedTuple):
    """What a new container's first process unshares and joins."""

    new: int
    """CLONE_NEW*, the pid namespace left out."""
    own_pids: bool
    joined: list[tuple[int, int]]
    """pidfd, CLONE_NEW*: to be joined before."""


def plan(config: Config, places: Places) -> Plan:
    """What `config` asks for. Raises Refusal: a container whose namespace is wanted doesn't run."""
    new, joined = process.CLONE_NEWNS, []
    for kind, flag in FLAGS.items():
        mode = config.namespaces.get(kind, "private")
        if mode.startswith(_OF_OTHERS):
            joined.append((open_process(Container(places, mode.removeprefix(_OF_OTHERS))), flag))
        elif mode == "private" and kind != "pid":
            new |= flag
    return Plan(new, config.namespaces.get("pid", "private") == "private", joined)


def enter(planned: Plan) -> int:
    """Leave the host's namespaces; of pid namespaces the caller has seen to.

    The result is the /dev/shm of the container whose ipc namespace this is, as a detached mount, or -1.
    """
    shared = -1
    for pidfd, flag in planned.joined:
        if flag == process.CLONE_NEWIPC:
            shared = _shared_memory(pidfd)
        if flag != process.CLONE_NEWPID:
            process.setns(pidfd, flag)
    process.unshare(planned.new)
    return shared


def _shared_memory(pidfd: int) -> int:
    """What another container has at /dev/shm: only from within its mount namespace can it be cloned."""
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.setns(pidfd, process.CLONE_NEWNS)
        return mounts.open_tree(None, b"/dev/shm")
    finally:
        process.setns(ours, process.CLONE_NEWNS)
        os.close(ours)


def enter_pids(planned: Plan) -> None:
    """Have the next child of this process be in the container's pid namespace."""
    if planned.own_pids:
        process.unshare(process.CLONE_NEWPID)
    for pidfd, flag in planned.joined:
        if flag == process.CLONE_NEWPID:
            process.setns(pidfd, flag)


def join_pids(pidfd: int, config: Config) -> None:
    """Have the next child of this process be in the pid namespace of a running container. Raises Refusal: it ended."""
    if config.namespaces.get("pid") != "host":
        _join(pidfd, config, process.CLONE_NEWPID)


def join(pidfd: int, config: Config) -> None:
    """Enter the other namespaces of a running container. Raises Refusal: it ended."""
    flags = process.CLONE_NEWNS
    for kind, flag in FLAGS.items():
        flags |= 0 if kind == "pid" or config.namespaces.get(kind) == "host" else flag
    _join(pidfd, config, flags)
    os.chdir("/")


def _join(pidfd: int, config: Config, flags: int) -> None:
    try:
        process.setns(pidfd, flags)
    except ProcessLookupError:
        raise Refusal(f"container {config.name} is not running", status=1) from None
