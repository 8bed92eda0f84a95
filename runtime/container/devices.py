"""Devices: which a container may make and open, and which it finds in its /dev beyond the usual ones."""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from runtime.errors import UsageError


class DeviceRule(NamedTuple):
    """Devices of one kind, and what may be done with them."""

    kind: str
    """b, c or a (both)."""
    major: int
    """-1: any."""
    minor: int
    """-1: any."""
    access: str
    """Of r (open for reading), w (for writing), m (make a node)."""

    def text(self) -> str:
        """As version 1 takes it, and --device-cgroup-rule."""
        major, minor = ("*" if number < 0 else str(number) for number in (self.major, self.minor))
        return f"{self.kind} {major}:{minor} {self.access}"


def parse_rule(text: str) -> DeviceRule:
    """The reverse of text(). Raises ValueError."""
    kind, numbers, access = text.split()
    major, minor = (-1 if number == "*" else int(number) for number in numbers.split(":"))
    if kind not in ("a", "b", "c") or not access or not set(access) <= set("rwm"):
        raise ValueError(text)
    return DeviceRule(kind, major, minor, access)


DEFAULT = [
    DeviceRule("c", -1, -1, "m"),  # a node that can't be opened does no harm, and image tools make them
    DeviceRule("b", -1, -1, "m"),
    DeviceRule("c", 1, 3, "rwm"),  # null
    DeviceRule("c", 1, 5, "rwm"),  # zero
    DeviceRule("c", 1, 7, "rwm"),  # full
    DeviceRule("c", 1, 8, "rwm"),  # random
    DeviceRule("c", 1, 9, "rwm"),  # urandom
    DeviceRule("c", 5, 0, "rwm"),  # tty
    DeviceRule("c", 5, 1, "rwm"),  # console
    DeviceRule("c", 5, 2, "rwm"),  # ptmx
    DeviceRule("c", 136, -1, "rwm"),  # pts/*
]
ALL = DeviceRule("a", -1, -1, "rwm")


class DeviceNode(NamedTuple):
    """A node as it is to be made inside."""

    target: str
    """Where, below /dev."""
    mode: int
    """With the kind, as mknod(2) takes it."""
    owner: tuple[int, int]
    device: int
    access: str
    """Of r, w and m."""
    source: str
    """The machine's own node."""

    def rule(self) -> DeviceRule:
        """What its control group must allow."""
        kind = "b" if stat.S_ISBLK(self.mode) else "c"
        return DeviceRule(kind, os.major(self.device), os.minor(self.device), self.access)


def parse_device(text: str) -> DeviceNode:
    """PATH[:PATH-INSIDE][:rwm]. Raises UsageError, which names the culprit."""
    source, *rest = text.split(":")
    access = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    target = rest.pop() if rest else source
    if rest or not access or not set(access) <= set("rwm"):
        raise UsageError(f"invalid device {text!r}: it is PATH, PATH:PATH-INSIDE or PATH:PATH-INSIDE:rwm")
    if not os.path.normpath(target).startswith("/dev/"):
        raise UsageError(f"invalid device {text!r}: inside, it must be in /dev")
    try:
        status = os.stat(source)
    except OSError as error:
        raise UsageError(f"invalid device {text!r}: {source}: {error.strerror}") from None
    if not stat.S_ISBLK(status.st_mode) and not stat.S_ISCHR(status.st_mode):
        raise UsageError(f"invalid device {text!r}: {source} is not a device")
    owner = (status.st_uid, status.st_gid)
    return DeviceNode(os.path.normpath(target), status.st_mode, owner, status.st_rdev, access, os.path.abspath(source))


_TERMINALS = (4, 5)
"""Major numbers of consoles and of what stands for a process's own terminal."""


def all_below(directory: str = "/dev") -> list[DeviceNode]:
    """Every device that this machine has there, terminals left out."""
    found = []
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name not in ("pts", "shm", "mqueue")]
        for name in names:
            path = f"{folder}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            plain = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) not in _TERMINALS
            if plain or stat.S_ISBLK(status.st_mode):
                owner = (status.st_uid, status.st_gid)
                found.append(DeviceNode(path, status.st_mode, owner, status.st_rdev, "rwm", path))
    return found


def make(dev: int, nodes: Iterable[DeviceNode], *, bound: bool) -> None:
    """Make `nodes` on the filesystem `dev`, which will be /dev; what is there is left. Raises OSError.

    `bound`: files instead, on which the machine's own are mounted later, where a node can't be made.
    """
    for node in nodes:
        *folders, name = node.target.removeprefix("/dev/").split("/")
        for depth in range(1, len(folders) + 1):
            with suppress(FileExistsError):
                os.mkdir("/".join(folders[:depth]), 0o755, dir_fd=dev)
        path = "/".join((*folders, name))
        with suppress(FileExistsError):
            os.mknod(path, stat.S_IFREG if bound else node.mode, 0 if bound else node.device, dir_fd=dev)
            if not bound:
                os.chown(path, *node.owner, dir_fd=dev)
