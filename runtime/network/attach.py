"""A container's network from its start to its end, for the monitor; and connect and disconnect while it runs.

    prepare()   addresses are leased, so /etc/hosts and /etc/resolv.conf can be written    before its processes exist
    attach()    bridge, interfaces, rules, ports, names                                    when its namespace exists
    detach()    all of it is taken away                                                    when it has ended

Each holds the lock of Networks throughout. What must be undone follows from the record that prepare() left: whoever
calls detach() needs to know nothing else, and may call it at any time, as the sweep after a crash does. A pair of
interfaces dies with the namespace; a bridge and its rules go with the last container on the network.
"""

import os
from collections.abc import Callable
from functools import partial

from runtime.errors import Refusal, describe
from runtime.network import bridge, conntrack, firewall, forwarding, helper, leases, members, ports, userland
from runtime.network import files as texts
from runtime.network.files import RESOLVER, Files, Resolution, make_hosts, make_resolv_conf, reachable, resolution
from runtime.network.members import Endpoint, Member
from runtime.network.netlink import Netlink
from runtime.network.networks import DEFAULT, Network, Networks
from runtime.network.sockets import listen_for_names
from runtime.network.wanted import Attachment, Wanted
from runtime.places import Places


def prepare(places: Places, identity: str, name: str, hostname: str, wanted: Wanted) -> Files:
    """Lease what a container is to have; what it had in a run before is taken away.

    Raises Refusal: no such network, no address.
    """
    detach(places, identity)
    store = Networks(places)
    with store.locked():
        default = leases.default_network(store)
        everyone = dict(members.everybody(places))
        used = any(end.network_id == default.id for one in everyone.values() for end in one.endpoints)
        if not used and any(wish.network == DEFAULT for wish in wanted.attachments):
            default = leases.leave_to_others(store, default)
        everyone[identity] = Member([], servers=resolution(wanted).servers)
        for wish in wanted.attachments:
            leases.add_endpoint(store.find(wish.network), everyone, identity, name, wish)
        members.write(places, identity, everyone[identity])
    endpoints = everyone[identity].endpoints
    gateway = next((gateway for endpoint in endpoints for gateway in endpoint.gateways), default.pools[0].gateway)
    return Files(make_hosts(hostname, endpoints, wanted, gateway), make_resolv_conf(_resolution(endpoints, wanted)))


def shared(places: Places, identity: str, hostnames: tuple[str, str], wanted: Wanted) -> Files:
    """For one that shares the network of the container `identity`: what that one has, under both hostnames.

    `wanted` is that one's. It need not be on a network of ours.
    """
    names = " ".join(hostnames)
    own = members.read(places, identity)
    if own is None:
        return texts.plain(names, wanted)
    if own.tool[0]:
        return userland.files(names, wanted)
    gateway = next((gateway for endpoint in own.endpoints for gateway in endpoint.gateways), "")
    hosts = make_hosts(names, own.endpoints, wanted, gateway)
    return Files(hosts, make_resolv_conf(_resolution(own.endpoints, wanted)))


def _resolution(endpoints: list[Endpoint], wanted: Wanted) -> Resolution:
    """On the network `bridge` alone this machine's servers, if they can be reached; elsewhere our own."""
    host = resolution(wanted)
    if not _has_resolver(endpoints, host.servers):
        return host._replace(servers=reachable(host.servers))
    return Resolution([RESOLVER], host.search, wanted.dns_options or ["ndots:0"])


def _has_resolver(endpoints: list[Endpoint], servers: list[str]) -> bool:
    return any(endpoint.network != DEFAULT for endpoint in endpoints) or (bool(servers) and not reachable(servers))


def attach(places: Places, identity: str, wanted: Wanted, pid: int) -> None:
    """Give the namespace of process `pid` what prepare() leased, and publish its ports.

    Raises Refusal: a port is taken, or the kernel refuses. What was done until then, detach() undoes.
    """
    try:
        _attach(places, identity, wanted, pid)
    except Refusal as error:
        raise Refusal(str(error)) from None  # with the status of a command that didn't run
    except OSError as error:
        raise Refusal(f"network: {describe(error)}") from None


def _attach(places: Places, identity: str, wanted: Wanted, pid: int) -> None:
    store = Networks(places)
    with store.locked() as lock, Netlink() as netlink:
        own = members.read(places, identity)
        if own is None:
            raise Refusal("its network was taken away while it started")
        for endpoint in own.endpoints:
            network = store.find(endpoint.network_id)
            bridge.bring_up(store, netlink, network)
            bridge.plug_in(netlink, network, endpoint, pid, default_route=endpoint == own.published())
        own = _serve(places, identity, own, wanted, pid)
        members.write(places, identity, own)
        _apply_rules(store, lock)
        conntrack.forget(own.ports)


def _serve(places: Places, identity: str, own: Member, wanted: Wanted, pid: int) -> Member:
    """Publish the ports, start the helper if there is something to serve: what the container has now."""
    reserved = ports.reserve(wanted.ports)
    names = listen_for_names(pid) if _has_resolver(own.endpoints, own.servers) else None
    own = own._replace(ports=[one.publish for one in reserved])
    if reserved or names:
        serving = helper.fork(places, identity, reserved, names)
        own = own._replace(helper=serving, names=serving if names else own.names)
        for one in [*(one.socket for one in reserved), *(names or ())]:
            one.close()
    return own


def own_lines(places: Places, identity: str, hostname: str, wanted: Wanted) -> Callable[[bytes], bytes]:
    """What makes an /etc/hosts of a container say its addresses of now, and leaves all else in it."""
    own = members.read(places, identity)
    return partial(texts.with_own_lines, hostname=hostname, endpoints=own.endpoints if own else [], wanted=wanted)


def serve_names(places: Places, identity: str, wanted: Wanted, pid: int) -> bytes:
    """Have a running container find names, if it is to by now and doesn't: the text of its /etc/resolv.conf then.

    By the parent of its first process `pid`, whose child the helper is. Raises Refusal.
    """
    with Networks(places).locked():
        own = members.read(places, identity)
        if own is None or own.names[0] or not _has_resolver(own.endpoints, own.servers):
            return b""
        try:
            names = listen_for_names(pid)
        except OSError as error:
            raise Refusal(f"names are not found: {describe(error)}", status=1) from None
        members.write(places, identity, own._replace(names=helper.fork(places, identity, [], names)))
    for one in names:
        one.close()
    return make_resolv_conf(_resolution(own.endpoints, wanted))


def detach(places: Places, identity: str) -> None:
    """Take away what a container had. Nothing happens if it had nothing."""
    if not os.path.exists(members.path_of(places, identity)):
        return
    store = Networks(places)
    with store.locked() as lock, Netlink() as netlink:
        own = members.read(places, identity)
        if own is None:
            return
        if not all(endpoint.network_id for endpoint in own.endpoints):
            userland.detach(places, identity, own)
            return
        for serving in {own.helper, own.names} - {(0, 0)}:
            helper.end(*serving)
        members.forget(places, identity)
        for endpoint in own.endpoints:
            bridge.unplug(netlink, endpoint)
        bridge.remove_unused(store, netlink, _apply_rules(store, lock))


def _apply_rules(store: Networks, lock: int) -> set[str]:
    """Make the rules say what the records say, and packets be forwarded: the ids of the networks that have members."""
    everyone = [member for _, member in members.everybody(store.places)]
    used = {endpoint.network_id for member in everyone for endpoint in member.endpoints}
    in_use = [network for network in store.all() if network.id in used]
    firewall.apply(store.places, firewall.table_of(leases.default_network(store)), in_use, everyone, lock)
    leading_out = [network for network in in_use if not network.internal]
    forwarding.apply(store.places.root, {subnet.version for network in leading_out for subnet in network.subnets()})
    return used


def connect(places: Places, identity: str, name: str, wish: Attachment, pid: int) -> None:
    """Put a running container, whose first process is `pid`, on one more network. Raises Refusal."""
    store = Networks(places)
    with store.locked() as lock, Netlink() as netlink:
        everyone = dict(members.everybody(places))
        if identity not in everyone:
            raise Refusal(f"container {name} has no network of its own to which another could be added", status=1)
        routed = any(endpoint.gateways for endpoint in everyone[identity].endpoints)
        network = store.find(wish.network)
        endpoint = leases.add_endpoint(network, everyone, identity, name, wish)
        members.write(places, identity, everyone[identity])
        bridge.bring_up(store, netlink, network)
        bridge.plug_in(netlink, network, endpoint, pid, default_route=not routed)
        _apply_rules(store, lock)


def disconnect(places: Places, identity: str, name: str, network: Network, pid: int) -> None:
    """Take a running container, whose first process is `pid`, off a network. Raises Refusal if it isn't on it.

    If its way out led there, it leads through another of its networks from then on.
    """
    store = Networks(places)
    with store.locked() as lock, Netlink() as netlink:
        own = members.read(places, identity)
        left = [endpoint for endpoint in own.endpoints if endpoint.network_id == network.id] if own else []
        if own is None or not left:
            raise Refusal(f"container {name} is not on network {network.name}", status=1)
        bridge.unplug(netlink, left[0])
        rest = own._replace(endpoints=[one for one in own.endpoints if one not in left])
        way_out = rest.published()
        if way_out is not None and own.published() in left:
            bridge.lead_out(way_out, pid)
        members.write(places, identity, rest)
        bridge.remove_unused(store, netlink, _apply_rules(store, lock))
