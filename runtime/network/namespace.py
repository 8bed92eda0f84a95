"""The network namespace of a container, seen from this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime.network import links
from runtime.network.netlink import Netlink
from unionfs.linux import process

_IPV6 = "/proc/sys/net/ipv6"


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """A descriptor of the network namespace of process `pid`."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """Be in the network namespace of process `pid` for a while. Precondition: a single thread."""
    with opened(os.getpid()) as own, opened(pid) as there:
        process.setns(there, process.CLONE_NEWNET)
        try:
            yield
        finally:
            process.setns(own, process.CLONE_NEWNET)


def netlink_of(pid: int) -> Netlink:
    """A socket to the kernel in the network namespace of process `pid`."""
    with inside(pid):
        return Netlink()


def refuse_ipv6(interface: str) -> None:
    """Give an interface of this namespace no IPv6 address, whatever routers announce."""
    set_parameter(f"{_IPV6}/conf/{interface}/disable_ipv6", "1")


def ignore_routers(interface: str) -> None:
    """Take no route or address from who claims to be a router (CVE-2020-13401)."""
    set_parameter(f"{_IPV6}/conf/{interface}/accept_ra", "0")


def parameter(path: str) -> str:
    """A parameter of the kernel; nothing if it has none of that name."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def set_parameter(path: str, value: str) -> None:
    """Set a parameter of the kernel unless it has that value, or isn't there: writing may be forbidden."""
    if parameter(path) not in ("", value):
        with suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:
            file.write(value)


def counters(pid: int) -> dict[str, links.Counters]:
    """What each interface of a container has carried."""
    with netlink_of(pid) as netlink:
        return links.counters(netlink)
