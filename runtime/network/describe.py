"""Networks and what containers have of them, in Docker's words."""

import datetime
import hashlib
from ipaddress import ip_interface
from typing import Any

from runtime.network import members, ports
from runtime.network.members import Endpoint, Member
from runtime.network.networks import INTERFACE, Network
from runtime.places import Places


def describe_network(network: Network, everyone: dict[str, Member]) -> dict[str, Any]:
    """For `network inspect`."""
    ends = {identity: end for identity, member in everyone.items() for end in _on(network, member)}
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": datetime.datetime.fromtimestamp(network.created_s, datetime.UTC).isoformat().replace("+00:00", "Z"),
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": any(subnet.version == 4 for subnet in network.subnets()),
        "EnableIPv6": any(subnet.version == 6 for subnet in network.subnets()),
        "IPAM": {"Driver": "default", "Options": {}, "Config": [_pool(pool) for pool in network.pools]},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "Containers": {identity: _container(end) for identity, end in ends.items()},
        "Options": {**network.options, INTERFACE: network.interface},
        "Labels": network.labels,
    }


def _pool(pool: Any) -> dict[str, str]:
    described = {"Subnet": pool.subnet, "Gateway": pool.gateway}
    return described if pool.ip_range == pool.subnet else {**described, "IPRange": pool.ip_range}


def _on(network: Network, member: Member) -> list[Endpoint]:
    return [end for end in member.endpoints if end.network_id == network.id]


def _container(end: Endpoint) -> dict[str, str]:
    return {
        "Name": end.names[0],
        "EndpointID": _endpoint_id(end),
        "MacAddress": end.mac,
        "IPv4Address": _with_prefix(end, 4),
        "IPv6Address": _with_prefix(end, 6),
    }


def _endpoint_id(end: Endpoint) -> str:
    return hashlib.sha256(f"{end.network_id} {end.host_interface}".encode()).hexdigest()


def _with_prefix(end: Endpoint, version: int) -> str:
    return next((text for text in end.addresses if ip_interface(text).version == version), "")


def settings(places: Places, identity: str, networks: list[str]) -> dict[str, Any]:
    """A container's NetworkSettings; where one that doesn't run is to be on `networks`, they have no values."""
    own = members.read(places, identity) or Member([Endpoint("", name, "", "", "", [], [], []) for name in networks])
    first = own.published()
    return {
        **_addresses(first),
        "Ports": published(own),
        "Networks": {
            end.network: {
                **_addresses(end),
                "NetworkID": end.network_id,
                "EndpointID": _endpoint_id(end) if end.addresses else "",
                "Aliases": end.names[2:],
                "DNSNames": end.names,
            }
            for end in own.endpoints
        },
    }


def _addresses(end: Endpoint | None) -> dict[str, Any]:
    ipv4, ipv6 = (_with_prefix(end, version) if end else "" for version in (4, 6))
    gateways = end.gateways if end else []
    return {
        "IPAddress": ipv4.partition("/")[0],
        "IPPrefixLen": int(ipv4.partition("/")[2] or 0),
        "Gateway": next((gateway for gateway in gateways if ":" not in gateway), ""),
        "GlobalIPv6Address": ipv6.partition("/")[0],
        "GlobalIPv6PrefixLen": int(ipv6.partition("/")[2] or 0),
        "IPv6Gateway": next((gateway for gateway in gateways if ":" in gateway), ""),
        "MacAddress": end.mac if end else "",
    }


def published(own: Member) -> dict[str, list[dict[str, str]]]:
    """Ports of the container, each with where it is on this machine."""
    found: dict[str, list[dict[str, str]]] = {}
    for port in own.ports:
        where = {"HostIp": port.host_ip, "HostPort": str(port.host_port)}
        found.setdefault(f"{port.port}/{port.protocol}", []).append(where)
    return found


def ports_text(places: Places, identity: str) -> str:
    """The column PORTS: 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp."""
    own = members.read(places, identity) or Member([])
    return ", ".join(f"{ports.shown(port).partition('/')[0]}->{port.port}/{port.protocol}" for port in own.ports)
