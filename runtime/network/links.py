"""Interfaces, addresses and routes: what `ip link`, `ip addr` and `ip route` would do, as functions.

A function works in the network namespace of the Netlink it is given. All raise OSError with the interface's name.
"""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from runtime.network.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Netlink, Value, pack, unpack

Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network

# include/uapi/linux/rtnetlink.h
_RTM_NEWLINK = 16
_RTM_DELLINK = 17
_RTM_GETLINK = 18
_RTM_SETLINK = 19
_RTM_NEWADDR = 20
_RTM_NEWROUTE = 24
_RTM_GETROUTE = 26
_RT_TABLE_LOCAL = 255
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_RTN_UNICAST = 1
_RTA_DST = 1
_RTA_GATEWAY = 5
_RTA_OIF = 4

# include/uapi/linux/if_link.h
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_MASTER = 10
_IFLA_PROTINFO = 12
_IFLA_LINKINFO = 18
_IFLA_STATS64 = 23
_IFLA_NET_NS_FD = 28
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_BRPORT_MODE = 4
_VETH_INFO_PEER = 1

# include/uapi/linux/if_addr.h
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_BROADCAST = 4
_IFA_F_NODAD = 2

_IFF_UP = 1
_AF_BRIDGE = 7
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBi")  # struct ifaddrmsg
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_COUNTERS = struct.Struct("=8Q")


class Counters(NamedTuple):
    """What an interface has carried, from its namespace's point of view."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


def index_of(netlink: Netlink, name: str) -> int:
    """The number of the interface `name`. Raises OSError: ENODEV."""
    answer = netlink.get(_RTM_GETLINK, _link(), {_IFLA_IFNAME: name}, name)
    index: int = _LINK.unpack_from(answer)[2]
    return index


def exists(netlink: Netlink, name: str) -> bool:
    """Whether there is an interface of that name."""
    with suppress(OSError):
        return index_of(netlink, name) > 0
    return False


def add_bridge(netlink: Netlink, name: str, mac: str, mtu: int) -> None:
    """Make a bridge. Its hardware address is fixed, or it would change with its ports. Raises OSError: EEXIST."""
    attributes: dict[int, Value] = {
        _IFLA_IFNAME: name,
        _IFLA_ADDRESS: _mac(mac),
        _IFLA_LINKINFO: {_IFLA_INFO_KIND: "bridge"},
    }
    if mtu:
        attributes[_IFLA_MTU] = mtu
    netlink.request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link(), attributes, name)


def add_pair(netlink: Netlink, name: str, bridge: str, peer: str, netns: int, mac: str, mtu: int) -> None:
    """Make two interfaces that are one cable: `name` here, a port of `bridge`, and `peer` in the namespace `netns`.

    The peer is born there, so that no moment exists in which a crash would leave a pair behind that no namespace
    takes along with its end.
    """
    size: dict[int, Value] = {_IFLA_MTU: mtu} if mtu else {}
    there = _link() + pack({_IFLA_IFNAME: peer, _IFLA_ADDRESS: _mac(mac), _IFLA_NET_NS_FD: netns, **size})
    attributes: dict[int, Value] = {
        _IFLA_IFNAME: name,
        _IFLA_MASTER: index_of(netlink, bridge),
        _IFLA_LINKINFO: {_IFLA_INFO_KIND: "veth", _IFLA_INFO_DATA: {_VETH_INFO_PEER: there}},
        **size,
    }
    netlink.request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link(), attributes, name)


def turn_back(netlink: Netlink, name: str) -> None:
    """Let a port of a bridge send out again what came in through it (hairpin mode).

    A container that asks for a port it publishes itself needs it where bridged packets pass the rules (br_netfilter).
    """
    fixed = _LINK.pack(_AF_BRIDGE, 0, index_of(netlink, name), 0, 0)
    netlink.request(_RTM_SETLINK, 0, fixed, {_IFLA_PROTINFO: {_IFLA_BRPORT_MODE: b"\1"}}, name)


def remove(netlink: Netlink, name: str) -> None:
    """Take an interface away; a pair with both its ends. No error if there is none."""
    with suppress(OSError):
        netlink.request(_RTM_DELLINK, 0, _link(index_of(netlink, name)), {}, name)


def bring_up(netlink: Netlink, name: str) -> None:
    """Let an interface carry traffic."""
    fixed = _LINK.pack(socket.AF_UNSPEC, 0, index_of(netlink, name), _IFF_UP, _IFF_UP)
    netlink.request(_RTM_NEWLINK, 0, fixed, {}, name)


def add_address(netlink: Netlink, name: str, interface: Interface) -> None:
    """Give an interface an address, at once: nobody is asked whether it is taken (the leases say so)."""
    attributes: dict[int, Value] = {_IFA_ADDRESS: interface.packed, _IFA_LOCAL: interface.packed}
    if interface.version == 4 and interface.network.prefixlen < 31:
        attributes[_IFA_BROADCAST] = interface.network.broadcast_address.packed
    fixed = _ADDRESS.pack(
        _family(interface.version), interface.network.prefixlen, _IFA_F_NODAD, 0, index_of(netlink, name)
    )
    netlink.request(_RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, fixed, attributes, name)


def add_default_route(netlink: Netlink, name: str, gateway: str) -> None:
    """Send all that is not for a neighbour to `gateway`, through the interface `name`."""
    address = ip_address(gateway)
    fixed = _ROUTE.pack(_family(address.version), 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_UNICAST, 0)
    attributes: dict[int, Value] = {_RTA_GATEWAY: address.packed, _RTA_OIF: index_of(netlink, name)}
    netlink.request(_RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, fixed, attributes, name)


def routes(netlink: Netlink) -> Iterator[tuple[Subnet, str]]:
    """Networks that this namespace has a route to, default routes left out, and the interface each goes through."""
    names = dict(_names(netlink))
    for message in netlink.dump(_RTM_GETROUTE, bytes(_ROUTE.size)):
        family, prefix, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(message)
        attributes = unpack(message[_ROUTE.size :])
        if kind == _RTN_UNICAST and table != _RT_TABLE_LOCAL and _RTA_DST in attributes:
            address = socket.inet_ntop(family, attributes[_RTA_DST])
            index = int.from_bytes(attributes.get(_RTA_OIF, b""), "little")
            yield ip_network(f"{address}/{prefix}"), names.get(index, "")


def counters(netlink: Netlink) -> dict[str, Counters]:
    """What every interface but loopback has carried, by its name."""
    found = {}
    for message in netlink.dump(_RTM_GETLINK, _link()):
        attributes = unpack(message[_LINK.size :])
        name = _text(attributes[_IFLA_IFNAME])
        if name != "lo" and _IFLA_STATS64 in attributes:
            found[name] = Counters(*_COUNTERS.unpack_from(attributes[_IFLA_STATS64]))
    return found


def _names(netlink: Netlink) -> Iterator[tuple[int, str]]:
    for message in netlink.dump(_RTM_GETLINK, _link()):
        yield _LINK.unpack_from(message)[2], _text(unpack(message[_LINK.size :])[_IFLA_IFNAME])


def _link(index: int = 0) -> bytes:
    return _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _text(value: bytes) -> str:
    return os.fsdecode(value.rstrip(b"\0"))
