"""A network in the kernel: its bridge, and the pair of interfaces that puts a container on it."""

from ipaddress import ip_interface

from runtime.network import leases, links, namespace, pools
from runtime.network.members import Endpoint
from runtime.network.netlink import Netlink
from runtime.network.networks import Network, Networks


def bring_up(store: Networks, netlink: Netlink, network: Network) -> None:
    """Make a network's bridge, if it isn't there. Raises Refusal: its subnet is somebody else's by now."""
    if links.exists(netlink, network.interface):
        return
    in_use = leases.subnets_in_use(store, but=network.name)
    for subnet in network.subnets():
        pools.refuse_overlap(subnet, in_use)
    links.add_bridge(netlink, network.interface, _mac_of(network), network.mtu)
    namespace.ignore_routers(network.interface)
    if not any(subnet.version == 6 for subnet in network.subnets()):
        namespace.refuse_ipv6(network.interface)
    for pool in network.pools:
        prefix = pool.subnet.partition("/")[2]
        links.add_address(netlink, network.interface, ip_interface(f"{pool.gateway}/{prefix}"))
    links.bring_up(netlink, network.interface)


def _mac_of(network: Network) -> str:
    return ":".join(f"{byte:02x}" for byte in b"\x02" + bytes.fromhex(network.id[:10]))


def plug_in(netlink: Netlink, network: Network, endpoint: Endpoint, pid: int, default_route: bool) -> None:
    """Connect the namespace of process `pid` to a network's bridge, which is up."""
    with namespace.netlink_of(pid) as there:
        with namespace.opened(pid) as netns:
            ends = (endpoint.host_interface, network.interface, endpoint.interface)
            links.add_pair(netlink, *ends, netns, endpoint.mac, network.mtu)
        namespace.refuse_ipv6(endpoint.host_interface)
        links.turn_back(netlink, endpoint.host_interface)
        links.bring_up(netlink, endpoint.host_interface)
        with namespace.inside(pid):
            namespace.ignore_routers(endpoint.interface)
            if not endpoint.address(6):
                namespace.refuse_ipv6(endpoint.interface)
        for address in endpoint.addresses:
            links.add_address(there, endpoint.interface, ip_interface(address))
        links.bring_up(there, endpoint.interface)
    if default_route:
        lead_out(endpoint, pid)


def lead_out(endpoint: Endpoint, pid: int) -> None:
    """Send what isn't for neighbours through this endpoint's gateways, if it has any."""
    with namespace.netlink_of(pid) as there:
        for gateway in endpoint.gateways:
            links.add_default_route(there, endpoint.interface, gateway)


def unplug(netlink: Netlink, endpoint: Endpoint) -> None:
    """Take the pair away, if its namespace hasn't taken it along already."""
    links.remove(netlink, endpoint.host_interface)


def remove_unused(store: Networks, netlink: Netlink, used: set[str]) -> None:
    """Take away the bridges of networks whose ids aren't among those in use."""
    for network in store.all():
        if network.id not in used:
            links.remove(netlink, network.interface)
