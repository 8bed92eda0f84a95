"""Published ports: Docker's way to write them, and the sockets that keep them for us.

    [ADDRESS:][PORT[-PORT]]:PORT[-PORT][/tcp|udp]   without a port of this machine, or with 0, one is chosen
    PORT[-PORT][/tcp|udp]                           the same, on all addresses
    PORT-PORT:PORT                                  one is chosen from a range

A published port is bound by a socket of ours for as long as it is published, whoever carries its packets: so it is
free when we take it, nobody takes it from us, and ports are chosen by the kernel.
"""

import socket
from contextlib import suppress
from typing import NamedTuple

from runtime.errors import Refusal, UsageError
from runtime.network.wanted import Publish

_PROTOCOLS = ("tcp", "udp")
_MOST = 65535
_BACKLOG = 4096


class Reserved(NamedTuple):
    """A published port and the socket that keeps it: a listening one for TCP."""

    publish: Publish
    socket: socket.socket


def parse(text: str) -> list[Publish]:
    """What one -p asks for. Raises UsageError."""
    rest, slash, protocol = text.partition("/")
    if slash and protocol not in _PROTOCOLS:
        raise UsageError(f"invalid --publish {text}: {protocol!r} is neither tcp nor udp")
    address, host, inside = _split(rest, text)
    if address:
        _check_address(address, text)
    ports = _range(inside, text)
    if 0 in ports:
        raise UsageError(f"invalid --publish {text}: the container's port can't be 0")
    host_ports = _range(host, text) if host else [0] * len(ports)
    if len(ports) == 1 < len(host_ports):
        return [Publish(address, host_ports[0], ports[0], protocol or "tcp", host_ports[-1])]
    if len(host_ports) != len(ports):
        raise UsageError(f"invalid --publish {text}: {host} and {inside} are not of the same length")
    pairs = zip(host_ports, ports, strict=True)
    return [Publish(address, host_port, port, protocol or "tcp") for host_port, port in pairs]


def check_exposed(text: str) -> str:
    """One --expose, if it is one: PORT[-PORT][/tcp|udp]. Raises UsageError."""
    inside, slash, protocol = text.partition("/")
    if slash and protocol not in _PROTOCOLS:
        raise UsageError(f"invalid --expose {text}: {protocol!r} is neither tcp nor udp")
    _range(inside, text)
    return text


def _split(rest: str, text: str) -> tuple[str, str, str]:
    if rest.startswith("["):  # an IPv6 address
        address, bracket, rest = rest[1:].partition("]:")
        if not bracket:
            raise UsageError(f"invalid --publish {text}: no ']:' behind the address")
        fields = [address, *rest.split(":")]
    else:
        fields = rest.split(":")
    if len(fields) > 3:
        raise UsageError(f"invalid --publish {text}: an IPv6 address is written in brackets, [::1]:80:80")
    padded = ["", "", *fields][-3:] if len(fields) < 3 else fields
    return padded[0], padded[1], padded[2]


def _check_address(address: str, text: str) -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, address)
            return
    raise UsageError(f"invalid --publish {text}: {address!r} is not an address of this machine")


def _range(text: str, whole: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        start, end = int(first), int(last if dash else first)
    except ValueError:
        raise UsageError(f"invalid port {text!r} in {whole}: it is not a number") from None
    if not 0 <= start <= end <= _MOST:
        raise UsageError(f"invalid port {text!r} in {whole}: ports go from 1 to {_MOST}")
    return list(range(start, end + 1))


def reserve(ports: list[Publish]) -> list[Reserved]:
    """Take ports of this machine, choosing those that aren't given. Raises Refusal: allocated, no such address."""
    reserved: list[Reserved] = []
    try:
        for publish in ports:
            reserved += _reserve_first(publish)
    except Refusal:
        for one in reserved:
            one.socket.close()
        raise
    return reserved


def _reserve_first(publish: Publish) -> list[Reserved]:
    """The first port of a range that is free, or the one there is to take."""
    one = publish._replace(last=0)
    for number in range(publish.host_port, publish.last):
        with suppress(Refusal):
            return _reserve_one(one._replace(host_port=number))
    return _reserve_one(one._replace(host_port=publish.last or publish.host_port))


def _reserve_one(publish: Publish) -> list[Reserved]:
    return [_reserve(publish)] if publish.host_ip else _reserve_everywhere(publish)


def _reserve_everywhere(publish: Publish) -> list[Reserved]:
    """On all addresses of both versions of IP, with the same number; IPv6 only where the machine has it."""
    first = _reserve(publish._replace(host_ip="0.0.0.0"))
    if not _has_ipv6():
        return [first]
    try:
        return [first, _reserve(publish._replace(host_ip="::", host_port=first.publish.host_port))]
    except Refusal:
        first.socket.close()
        raise


def _has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def _reserve(publish: Publish) -> Reserved:
    family = socket.AF_INET6 if ":" in publish.host_ip else socket.AF_INET
    kind = socket.SOCK_STREAM if publish.protocol == "tcp" else socket.SOCK_DGRAM
    keeper = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:  # for connections of an earlier container that aren't quite over
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind((publish.host_ip, publish.host_port))
        if kind == socket.SOCK_STREAM:
            keeper.listen(_BACKLOG)
    except OSError as error:
        keeper.close()
        raise Refusal(f"publish {shown(publish)}: {_reason(error)}") from None
    return Reserved(publish._replace(host_port=keeper.getsockname()[1]), keeper)


def _reason(error: OSError) -> str:
    import errno

    if error.errno == errno.EADDRINUSE:
        return "port is already allocated"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return str(error.strerror)


def shown(publish: Publish) -> str:
    """ADDRESS:PORT of this machine."""
    address = f"[{publish.host_ip}]" if ":" in publish.host_ip else publish.host_ip or "0.0.0.0"
    return f"{address}:{publish.host_port}/{publish.protocol}"
