"""Which control groups this machine has, and where a container's may be made: by looking, never by assuming.

A controller is either in a hierarchy of version 1 of its own (or one that it shares: cpu,cpuacct) or in the one tree
of version 2. Both kinds can be mounted beside each other (hybrid); then each controller is used where it is.
"""

import os
from typing import NamedTuple

from unionfs.linux import mountinfo

USED = frozenset({"cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "io", "devices", "freezer"})
"""The controllers we have a use for; the freezer and lists of devices are part of version 2 itself."""


class Hierarchy(NamedTuple):
    """A tree of control groups."""

    version: int
    controllers: frozenset[str]
    """Those of USED that it has."""
    base: str
    """The group below which we may make ours, as a directory."""


def find() -> list[Hierarchy]:
    """The hierarchies a container should be in, together offering all there is here; none if none is ours to use."""
    own = _own_groups()
    first: list[Hierarchy] = []
    second: list[Hierarchy] = []
    for mount in mountinfo.mounts():
        if mount.fstype == b"cgroup":
            names = frozenset(mount.options.decode().split(",")) & USED
            _add(first, 1, names, _base(mount, own.get(_key(names, own), "/")))
        elif mount.fstype == b"cgroup2":
            base = _base(mount, own.get("", "/"), version=2)
            _add(second, 2, _controllers(base), base)
    covered = frozenset[str]().union(*(hierarchy.controllers for hierarchy in first))
    needed = {"freezer", "devices"} - covered
    return first + [hierarchy for hierarchy in second if hierarchy.controllers - covered or needed]


def _add(found: list[Hierarchy], version: int, controllers: frozenset[str], base: str) -> None:
    """Note a hierarchy, unless it was seen before: one can be mounted at several places."""
    known = any(other.version == version and other.controllers == controllers for other in found)
    if base and not known and (controllers or version == 2):
        found.append(Hierarchy(version, controllers, base))


def _own_groups() -> dict[str, str]:
    """In which group this process is: controllers, as the kernel lists them ("" is version 2), to a path."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
        fields = [line.rstrip("\n").split(":", 2) for line in lines]
    return {controllers: path for _, controllers, path in fields}


def _key(names: frozenset[str], own: dict[str, str]) -> str:
    return next((controllers for controllers in own if names & set(controllers.split(","))), "?")


def _base(mount: mountinfo.Mount, own: str, version: int = 1) -> str:
    """Where under `mount` we may make groups: for root its top, for others their own group or one above; or ""."""
    target = os.fsdecode(mount.target)
    if os.geteuid() == 0:
        return target if os.access(target, os.W_OK) else ""
    top = os.fsdecode(mount.root).rstrip("/")
    if not own.startswith(f"{top}/"):
        return ""
    path = target + own.removeprefix(top).rstrip("/")
    while len(path) > len(target):
        if os.access(path, os.W_OK) and (version == 1 or _takes_controllers(path)):
            return path
        path = os.path.dirname(path)
    return ""


def _takes_controllers(path: str) -> bool:
    """Whether a group of version 2 is ours, and free of processes: only such a one can hand controllers down."""
    if not os.access(f"{path}/cgroup.subtree_control", os.W_OK) or not os.access(f"{path}/cgroup.procs", os.W_OK):
        return False
    with open(f"{path}/cgroup.procs", encoding="ascii") as processes:
        return not processes.read(1)


def _controllers(base: str) -> frozenset[str]:
    if not base:
        return frozenset()
    with open(f"{base}/cgroup.controllers", encoding="utf-8") as file:
        return frozenset(file.read().split()) & USED
