"""The rules of our networks, in one nftables table of our own; no other table is ever touched.

The text of the table follows from the records alone (networks that have members, and the members' ports), and is
replaced as a whole, in one transaction, when it is to say something else or isn't there (as when another program has
flushed all rules): there is nothing to patch. The kernel takes 10 ms for a change, so a container that changes nothing
makes none. The table is called after the network `bridge`, so two state directories don't meet.

    ROOT/networks/rules   the text that was last applied

    arrive        published ports: what is sent to this machine goes to the container (but for 127.0.0.0/8 and ::1,
                  which the kernel doesn't route, and making it would open them to neighbours: see forward.py)
    postrouting   what leaves for elsewhere carries this machine's address, and so does what a container sends to a
                  port published by its own network, lest the answer take a shorter way
    forward       between two networks of ours and into one from outside: only answers, and what was published;
                  from and to an internal network: nothing
"""

import os
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from runtime.errors import Refusal
from runtime.names import SHORT_ID
from runtime.network import programs
from runtime.network.members import Member
from runtime.network.netlink import Netlink
from runtime.network.networks import Network
from runtime.places import Places

# include/uapi/linux/netlink.h, netfilter.h, netfilter/nfnetlink.h, nf_tables.h
_NETLINK_NETFILTER = 12
_NFPROTO_INET = 1
_GET_TABLE = 10 << 8 | 1
_NFTA_TABLE_NAME = 1

_ANY = {"": 4, "0.0.0.0": 4, "::": 6}
_ADDRESS = {4: "ip", 6: "ip6"}
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1"}


def table_of(bridge: Network) -> str:
    """The name of our table, from the network `bridge`."""
    return f"pyunion-{bridge.id[:SHORT_ID]}"


def apply(
    places: Places, table: str, networks: Collection[Network], members: Collection[Member], lock: int
) -> None:
    """Make the table say what the records say; with no networks, take it away.

    `networks` are those that have members. `lock` stays held until the change is made, even if this process is
    killed. Does nothing where nft is not installed. Raises Refusal if the kernel refuses.
    """
    nft = programs.find("nft")
    text = ruleset(table, networks, members) if networks else ""
    noted = f"{places.root}/networks/rules"
    if not nft or (_exists(table) == bool(text) and _read(noted) == text):
        return
    with suppress(FileNotFoundError):
        os.unlink(noted)
    script = f"table inet {table}\ndelete table inet {table}\n{text}"
    status, _, complaint = programs.run([nft, "-f", "-"], script, lock)
    if status:
        raise Refusal(f"nft: {_first_line(complaint) or f'it ended with status {status}'}")
    with open(noted, "w", encoding="ascii") as file:
        file.write(text)


def _exists(table: str) -> bool:
    with Netlink(_NETLINK_NETFILTER) as netlink, suppress(FileNotFoundError):
        netlink.get(_GET_TABLE, struct.pack("!BBH", _NFPROTO_INET, 0, 0), {_NFTA_TABLE_NAME: table}, table)
        return True
    return False


def _read(path: str) -> str:
    with suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        return file.read()
    return ""


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")


def ruleset(table: str, networks: Collection[Network], members: Collection[Member]) -> str:
    """The whole table as nft reads it."""
    chains = [
        "\n".join(_maps(members)),
        _chain("arrive", "", _arrivals()),
        _chain("prerouting", "type nat hook prerouting priority dstnat;", ["jump arrive"]),
        _chain("output", "type nat hook output priority -100;", [*_not_to_loopback(), "jump arrive"]),
        _chain("postrouting", "type nat hook postrouting priority srcnat;", _leaving(networks)),
        _chain("forward", "type filter hook forward priority filter;", _crossing(networks)),
    ]
    return f"table inet {table} {{\n" + "\n".join(chains) + "\n}\n"


def _chain(name: str, hook: str, rules: Iterable[str]) -> str:
    lines = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n    {hook}\n{lines}  }}"


def _maps(members: Collection[Member]) -> Iterator[str]:
    elements = _elements(members)
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        target = f"{kind} . inet_service"
        for name, key in (("to", f"{kind} . inet_proto . inet_service"), ("to_any", "inet_proto . inet_service")):
            content = ", ".join(elements.get(f"{name}{version}", []))
            filled = f" elements = {{ {content} }};" if content else ""
            yield f"  map {name}{version} {{ type {key} : {target};{filled} }}"


def _elements(members: Collection[Member]) -> dict[str, list[str]]:
    """The published ports, by the map they belong to."""
    found: dict[str, list[str]] = {}
    for member in members:
        endpoint = member.published()
        for port in member.ports if endpoint else ():
            version = _ANY.get(port.host_ip) or (6 if ":" in port.host_ip else 4)
            address = endpoint.address(version) if endpoint else ""
            if not address or port.host_ip.startswith("127.") or port.host_ip == "::1":
                continue
            key = f"{port.protocol} . {port.host_port}"
            if port.host_ip in _ANY:
                name = f"to_any{version}"
            else:
                name, key = f"to{version}", f"{port.host_ip} . {key}"
            found.setdefault(name, []).append(f"{key} : {address} . {port.port}")
    return found


def _arrivals() -> Iterator[str]:
    for version, ip in _ADDRESS.items():
        yield f"dnat {ip} to {ip} daddr . meta l4proto . th dport map @to{version}"
        yield f"fib daddr type local dnat {ip} to meta l4proto . th dport map @to_any{version}"


def _not_to_loopback() -> Iterator[str]:
    for version, ip in _ADDRESS.items():
        yield f"{ip} daddr {_LOOPBACK[version]} return"


def _leaving(networks: Collection[Network]) -> Iterator[str]:
    for network in networks:
        for subnet in network.subnets():
            ip = _ADDRESS[subnet.version]
            yield f"{ip} saddr {subnet} {ip} daddr {subnet} ct status dnat masquerade"
            if network.masquerades and not network.internal:
                yield f'{ip} saddr {subnet} oifname != "{network.interface}" masquerade'


def _crossing(networks: Collection[Network]) -> Iterator[str]:
    for network in networks:  # where bridged packets come this way, as br_netfilter makes them
        yield f'iifname "{network.interface}" oifname "{network.interface}" accept'
    for network in networks:
        if network.internal:
            yield f'iifname "{network.interface}" drop'
            yield f'oifname "{network.interface}" drop'
    ours = ", ".join(f'"{network.interface}"' for network in networks)
    yield f"oifname {{ {ours} }} ct state established,related accept"
    yield f"oifname {{ {ours} }} ct status dnat accept"
    yield f"oifname {{ {ours} }} drop"
