"""What a container gets on a network, decided before anything is made: interface, addresses, names."""

from ipaddress import ip_interface, ip_network

from runtime.errors import Refusal
from runtime.names import SHORT_ID
from runtime.network import links, members, networks, pools
from runtime.network.members import Endpoint, Member
from runtime.network.netlink import Netlink
from runtime.network.networks import DEFAULT, Network, Networks
from runtime.network.wanted import Attachment


def default_network(store: Networks) -> Network:
    """The network `bridge`, made if it wasn't there. Precondition: the lock is held."""
    for network in store.all():
        if network.name == DEFAULT:
            return network
    network = networks.make(DEFAULT, [pools.choose_default([subnet for subnet, _ in subnets_in_use(store)])])
    store.add(network)
    return network


def leave_to_others(store: Networks, default: Network) -> Network:
    """`bridge` with another subnet, if somebody has its own by now, such as another state directory or a tunnel.

    Precondition: the lock is held, nobody is on it, and its bridge isn't there.
    """
    taken = [subnet for subnet, _ in subnets_in_use(store, but=DEFAULT)]
    if not any(pools.overlap(subnet, other) for subnet in default.subnets() for other in taken):
        return default
    moved = default._replace(pools=[pools.choose_default(taken)])
    store.replace(moved)
    return moved


def subnets_in_use(store: Networks, but: str = "") -> list[tuple[links.Subnet, str]]:
    """The subnets of our networks (but the one called `but`) and of this machine's routes, each with who has it."""
    ours = store.all()
    others = [network for network in ours if network.name != but]
    found = [(subnet, f"network {network.name}") for network in others for subnet in network.subnets()]
    interfaces = {network.interface for network in ours}
    with Netlink() as netlink:
        routes = [(subnet, f"interface {name}") for subnet, name in links.routes(netlink) if name not in interfaces]
    return found + [(subnet, owner) for subnet, owner in routes if subnet.prefixlen and not subnet.is_link_local]


def add_endpoint(network: Network, everyone: dict[str, Member], identity: str, name: str, wish: Attachment) -> Endpoint:
    """Give the container `identity` of `everyone` an endpoint on `network`. Raises Refusal: it has one; no address."""
    own = everyone[identity]
    if any(endpoint.network_id == network.id for endpoint in own.endpoints):
        raise Refusal(f"container {name} is already on network {network.name}", status=1)
    addresses = _addresses(network, members.taken(everyone, network.id), {4: wish.ip, 6: wish.ip6})
    used = {endpoint.interface for endpoint in own.endpoints}
    number = next(number for number in range(len(used) + 1) if f"eth{number}" not in used)
    endpoint = Endpoint(
        network_id=network.id,
        network=network.name,
        interface=f"eth{number}",
        host_interface=f"pv{identity[: SHORT_ID - 2]}{number}",
        mac=wish.mac or _mac_for(addresses[0]),
        addresses=addresses,
        gateways=[] if network.internal else [pool.gateway for pool in network.pools],
        names=[name, identity[:SHORT_ID], *wish.aliases],
    )
    everyone[identity] = own._replace(endpoints=[*own.endpoints, endpoint])
    return endpoint


def _addresses(network: Network, taken: set[pools.Address], wishes: dict[int, str]) -> list[str]:
    versions = [ip_network(pool.subnet).version for pool in network.pools]
    for version, wish in wishes.items():
        if wish and version not in versions:
            raise Refusal(f"network {network.name} has no IPv{version}: no address {wish}")
    return [pools.lease(pool, taken, wishes[version]) for pool, version in zip(network.pools, versions, strict=True)]


def _mac_for(address: str) -> str:
    """A hardware address that follows from an address, so that neighbours who remember the one aren't wrong."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + ip_interface(address).packed[-4:])
