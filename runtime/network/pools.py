"""Which addresses a network gets, and which of them a container.

A subnet that is not given is chosen where this machine has no route and no network of ours lies: 10.90.0.0/16 and up
for the network `bridge`, a /24 from 10.100.0.0/14 for others, and for IPv6 a random fdxx:xxxx:xxxx::/64 (RFC 4193).
"""

import os
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from runtime.errors import Refusal
from runtime.network.links import Subnet
from runtime.network.networks import Pool

Address = IPv4Address | IPv6Address
_DEFAULT_POOLS = [f"10.{number}.0.0/16" for number in range(90, 100)]
_OTHER_POOLS = "10.100.0.0/14"
_OTHER_PREFIX = 24


def choose_default(taken: Collection[Subnet]) -> Pool:
    """A pool for the network `bridge`. Raises Refusal if all are taken."""
    return _first_free((ip_network(text) for text in _DEFAULT_POOLS), taken)


def choose(taken: Collection[Subnet]) -> Pool:
    """A pool for a network whose subnet isn't given. Raises Refusal if all are taken."""
    return _first_free(ip_network(_OTHER_POOLS).subnets(new_prefix=_OTHER_PREFIX), taken)


def choose_ipv6() -> Pool:
    """A pool of IPv6 addresses that nobody else has, in all likelihood."""
    return make_pool(f"fd{os.urandom(1).hex()}:{os.urandom(2).hex()}:{os.urandom(2).hex()}::/64")


def _first_free(candidates: Iterator[Subnet], taken: Collection[Subnet]) -> Pool:
    for subnet in candidates:
        if not any(overlap(subnet, other) for other in taken):
            return make_pool(str(subnet))
    raise Refusal("no subnet is free on this machine: give one by --subnet", status=1)


def make_pool(subnet: str, gateway: str = "", ip_range: str = "") -> Pool:
    """A pool from what the user gave; the gateway is the first address unless given. Raises Refusal."""
    whole = parse_subnet(subnet, "--subnet")
    if whole.num_addresses < 4:
        raise Refusal(f"invalid --subnet {subnet}: there is no room for a gateway and a container", status=1)
    first = whole.network_address + 1
    chosen = parse_address(gateway, "--gateway") if gateway else first
    if chosen not in whole or chosen == whole.network_address:
        raise Refusal(f"invalid --gateway {gateway}: it is not an address of {whole}", status=1)
    part = parse_subnet(ip_range, "--ip-range") if ip_range else whole
    if part.version != whole.version or part.network_address not in whole or part.prefixlen < whole.prefixlen:
        raise Refusal(f"invalid --ip-range {ip_range}: it is not within {whole}", status=1)
    return Pool(str(whole), str(chosen), str(part))


def refuse_overlap(subnet: Subnet, taken: Collection[tuple[Subnet, str]]) -> None:
    """Raises Refusal if `subnet` shares addresses with one of `taken`, each with who has it."""
    for other, owner in taken:
        if overlap(subnet, other):
            raise Refusal(f"subnet {subnet} overlaps with {other} of {owner}", status=1)


def overlap(one: Subnet, other: Subnet) -> bool:
    """Whether they share addresses."""
    return one.version == other.version and one.overlaps(other)


def lease(pool: Pool, taken: Collection[Address], wanted: str = "") -> str:
    """An address of the pool with its prefix: the lowest that is free, or the one wanted. Raises Refusal."""
    whole = ip_network(pool.subnet)
    reserved = {whole.network_address, ip_address(pool.gateway)}
    if whole.version == 4:
        reserved.add(whole.broadcast_address)
    if wanted:
        address = parse_address(wanted, "--ip")
        if address not in whole or address in reserved:
            raise Refusal(f"invalid --ip {wanted}: it is not an address for containers of {whole}")
        if address in taken:
            raise Refusal(f"address {wanted} is already in use")
        return f"{address}/{whole.prefixlen}"
    for candidate in ip_network(pool.ip_range):
        if candidate not in reserved and candidate not in taken:
            return f"{candidate}/{whole.prefixlen}"
    raise Refusal(f"no address of {pool.ip_range} is free")


def parse_subnet(text: str, option: str) -> Subnet:
    """A network in CIDR notation; bits behind the prefix are dropped. Raises Refusal."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise Refusal(f"invalid {option} {text}: it is no network, such as 10.1.2.0/24", status=1) from None


def parse_address(text: str, option: str) -> Address:
    """One address. Raises Refusal."""
    try:
        return ip_address(text)
    except ValueError:
        raise Refusal(f"invalid {option} {text}: it is no address", status=1) from None
