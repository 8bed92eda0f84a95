"""A network as `network create` asks for it."""

import re
from itertools import zip_longest

from runtime.errors import Refusal
from runtime.network import leases, networks, pools
from runtime.network.links import Subnet
from runtime.network.networks import INTERFACE, MASQUERADE, MTU, Network, Networks, Pool

_LEAST_MTU, _MOST_MTU = 68, 65535
_LONGEST_INTERFACE = 15
_INTERFACE_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{_LONGEST_INTERFACE - 1}}}")


def create(
    store: Networks,
    name: str,
    addresses: tuple[list[str], list[str], list[str]],
    ipv6: bool,
    internal: bool,
    labels: dict[str, str],
    options: dict[str, str],
) -> Network:
    """Keep a new network; `addresses` are its subnets, gateways and ranges, as given. Raises Refusal."""
    kept = _options(options)
    with store.locked():
        leases.default_network(store)
        in_use = leases.subnets_in_use(store)
        chosen = _pools(addresses, ipv6, in_use)
        interface = kept.pop(INTERFACE, "")
        network = networks.make(name, chosen, internal=internal, labels=labels, options=kept, interface=interface)
        if interface and any(other.interface == interface for other in store.all()):
            raise Refusal(f"bridge {interface} is another network's already", status=1)
        store.add(network)
    return network


def _pools(
    addresses: tuple[list[str], list[str], list[str]], ipv6: bool, in_use: list[tuple[Subnet, str]]
) -> list[Pool]:
    subnets, gateways, ranges = addresses
    if len(gateways) > len(subnets) or len(ranges) > len(subnets):
        raise Refusal("--gateway and --ip-range need a --subnet each", status=1)
    found = [pools.make_pool(subnet, *rest) for subnet, *rest in zip_longest(subnets, gateways, ranges, fillvalue="")]
    versions = [":" in pool.subnet for pool in found]
    if len(set(versions)) < len(versions):
        raise Refusal("two subnets of one version of IP: a network has one of each", status=1)
    for pool in found:
        pools.refuse_overlap(pools.parse_subnet(pool.subnet, "--subnet"), in_use)
    if False not in versions:
        found.insert(0, pools.choose([subnet for subnet, _ in in_use]))
    if ipv6 and True not in versions:
        found.append(pools.choose_ipv6())
    return found


def _options(given: dict[str, str]) -> dict[str, str]:
    kept = {MTU if key == "mtu" else key: value for key, value in given.items()}
    for key, value in kept.items():
        if key == MTU:
            if not value.isdigit() or not _LEAST_MTU <= int(value) <= _MOST_MTU:
                raise Refusal(f"invalid --opt {key}={value}: it goes from {_LEAST_MTU} to {_MOST_MTU}", status=1)
        elif key == MASQUERADE:
            if value not in ("true", "false"):
                raise Refusal(f"invalid --opt {key}={value}: it is either true or false", status=1)
        elif key == INTERFACE:
            if not _INTERFACE_NAME.fullmatch(value):
                raise Refusal(f"invalid --opt {key}={value}: an interface has up to {_LONGEST_INTERFACE} letters", 1)
        else:
            raise Refusal(f"unknown --opt {key}: there are {MTU}, {MASQUERADE} and {INTERFACE}", status=1)
    return kept
