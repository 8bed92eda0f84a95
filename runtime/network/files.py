"""The texts of /etc/hosts and /etc/resolv.conf as a container sees them."""

import os
from ipaddress import ip_address
from typing import NamedTuple

from runtime.errors import Refusal
from runtime.network.members import Endpoint
from runtime.network.wanted import Wanted

RESOLVER = "127.0.0.11"
"""Where our own name server listens in a container, as Docker's does."""
_HOST_FILE_BYTES = 1 << 16
_LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"


class Files(NamedTuple):
    """Both."""

    hosts: bytes
    resolv_conf: bytes


class Resolution(NamedTuple):
    """What a resolv.conf says: the servers, the domains to search, the options."""

    servers: list[str]
    search: list[str]
    options: list[str]


def plain(hostname: str, wanted: Wanted) -> Files:
    """For a container on none of our networks."""
    return Files(make_hosts(hostname, [], wanted, ""), make_resolv_conf(resolution(wanted)))


def make_hosts(hostname: str, endpoints: list[Endpoint], wanted: Wanted, gateway: str) -> bytes:
    """/etc/hosts: the container's own addresses under its hostname, and the lines that were asked for.

    `gateway` is this machine's address as the container sees it, for `host-gateway`; nothing if it has none.
    """
    lines = _own_lines(hostname, endpoints)
    for name, address in wanted.hosts:
        if address == "host-gateway":
            if not gateway:
                raise Refusal(f"--add-host {name}:host-gateway: the container has no gateway")
            address = gateway
        lines.append(f"{address}\t{name}\n")
    return os.fsencode(_LOCALHOST + "".join(lines))


def _own_lines(hostname: str, endpoints: list[Endpoint]) -> list[str]:
    own = [text.partition("/")[0] for endpoint in endpoints for text in endpoint.addresses] or ["127.0.1.1"]
    return [f"{address}\t{hostname}\n" for address in own]


def with_own_lines(text: bytes, hostname: str, endpoints: list[Endpoint], wanted: Wanted) -> bytes:
    """An /etc/hosts with other addresses of the container's own; what was asked for, or written inside, stays."""
    asked = {f"{address}\t{name}" for name, address in wanted.hosts}
    lines = os.fsdecode(text).split("\n")
    others = [line for line in lines if line.partition("\t")[2] != hostname or line in asked]
    return os.fsencode("".join([*(f"{line}\n" for line in others if line), *_own_lines(hostname, endpoints)]))


def make_resolv_conf(resolution: Resolution) -> bytes:
    """/etc/resolv.conf with these lines."""
    lines = [f"nameserver {server}\n" for server in resolution.servers]
    if resolution.search and resolution.search != ["."]:
        lines.append(f"search {' '.join(resolution.search)}\n")
    if resolution.options:
        lines.append(f"options {' '.join(resolution.options)}\n")
    return os.fsencode("".join(lines))


def resolution(wanted: Wanted) -> Resolution:
    """This machine's way to resolve names, with what was asked for in its place."""
    own = parse(_host_file("/etc/resolv.conf"))
    if own.servers == ["127.0.0.53"] and os.path.exists(_SYSTEMD_RESOLV_CONF):
        own = own._replace(servers=parse(_host_file(_SYSTEMD_RESOLV_CONF)).servers)
    return Resolution(wanted.dns or own.servers, wanted.dns_search or own.search, wanted.dns_options or own.options)


def reachable(servers: list[str]) -> list[str]:
    """Those that aren't on this machine's loopback, where a container can't reach them."""
    return [server for server in servers if not ip_address(server.partition("%")[0]).is_loopback]


def parse(text: str) -> Resolution:
    """Read a resolv.conf; resolv.conf(5)."""
    servers, search, options = [], [], []
    for line in text.splitlines():
        key, *values = line.split("#")[0].split(";")[0].split() or [""]
        if key == "nameserver" and values and _is_address(values[0]):
            servers.append(values[0])
        elif key in ("search", "domain"):
            search = values
        elif key == "options":
            options += values
    return Resolution(servers, search, options)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _host_file(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(_HOST_FILE_BYTES))
    except FileNotFoundError:
        return ""
