"""A limit as the kernel takes it: text that goes into a file of a control group."""

import os
from typing import NamedTuple

from runtime.container.limits import Limits


class Setting(NamedTuple):
    """One write."""

    option: str
    """Who asked for it: the name of an option."""
    controller: str
    file: str
    text: str
    optional: bool = False
    """Nobody asked for it: what can't be set is left as it is."""


DEFAULT_PIDS = 2048
"""Processes and threads of a container for which nothing else is said: a fork bomb ends there, as with podman."""
SWAP_FACTOR = 2
"""Memory and swap together, as a multiple of the memory, where nothing is said about it; as Docker has it."""


def number_or_max(value: int) -> str:
    """A limit as text, with -1 for none."""
    return "max" if value < 0 else str(value)


def read(path: str) -> str:
    """The text of a small file of a control group."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def read_keys(path: str) -> dict[str, int]:
    """The numbers of a file with lines such as `oom_kill 1`."""
    pairs = (line.split(" ", 1) for line in read(path).splitlines() if line.count(" ") == 1)
    return {key: int(value) for key, value in pairs if value.isdigit()}


def write(path: str, text: str) -> None:
    """Write to a file of a control group, at once. Raises OSError: ENOENT (this kernel lacks it), EINVAL, EBUSY."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def of_both(limits: Limits) -> list[Setting]:
    """What is written to the same files of either version."""
    found = []
    if limits.cpuset_cpus:
        found.append(Setting("cpuset-cpus", "cpuset", "cpuset.cpus", limits.cpuset_cpus))
    if limits.cpuset_mems:
        found.append(Setting("cpuset-mems", "cpuset", "cpuset.mems", limits.cpuset_mems))
    pids = limits.pids_limit or DEFAULT_PIDS
    found.append(Setting("pids-limit", "pids", "pids.max", number_or_max(pids), not limits.pids_limit))
    return found
