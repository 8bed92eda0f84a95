"""Settings of the kernel that a container may have of its own (`--sysctl`): those that its namespaces keep apart."""

import os
from collections.abc import Mapping
from contextlib import suppress

from runtime.container.config import Config, Maps
from runtime.errors import Refusal, UsageError

_OF_IPC = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


def parse(text: str, kinds: Mapping[str, str]) -> tuple[str, str]:
    """NAME=VALUE, for a container that shares the namespaces `kinds` says. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"invalid sysctl {text!r}: it is NAME=VALUE")
    name = name.replace("/", ".")
    if name in _OF_IPC or name.startswith("fs.mqueue."):
        kind = "ipc"
    elif name.startswith("net."):
        kind = "net"
    else:
        raise UsageError(f"sysctl {name!r} is the whole machine's: a container has none of its own")
    if ".." in name or kinds.get(kind, "private") == "host":
        raise UsageError(f"sysctl {name!r} is not allowed with --{'network' if kind == 'net' else kind} host")
    return name, value


def write_usual(proc: int, config: Config, maps: Maps | None) -> None:
    """What Docker's containers have in a network of their own: every port may be bound, and everybody may ping.

    As far as it can be had; `maps` as in Job. To be done before --sysctl is, which may say otherwise.
    """
    if config.network == "host" or config.network.startswith("container:"):
        return
    groups = next((count for first, _, count in maps.gids if first == 0), 1) if maps else 1 << 31
    for name, value in (("ip_unprivileged_port_start", "0"), ("ping_group_range", f"0 {groups - 1}")):
        with suppress(Refusal):
            write(proc, {f"net.ipv4.{name}": value})


def write(proc: int, sysctls: Mapping[str, str]) -> None:
    """Set them in this process's namespaces, through the mount of procfs `proc`. Raises Refusal."""
    for name, value in sysctls.items():
        try:
            fd = os.open(f"sys/{name.replace('.', '/')}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise Refusal(f"--sysctl {name}={value}: {error.strerror}") from None
