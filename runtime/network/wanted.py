"""What a container wants of the network: the plain values that are kept in its configuration, under `networks`.

A value that isn't given isn't there, so that a container that wants nothing has an empty dictionary.
"""

from typing import Any, NamedTuple, Protocol


class Attachment(NamedTuple):
    """One network the container is to be on."""

    network: str
    """Its name."""
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    aliases: list[str] = []


class Publish(NamedTuple):
    """One port of the container that this machine shows; numbers of 0 are chosen when it starts."""

    host_ip: str
    """An address of this machine, or nothing for all."""
    host_port: int
    port: int
    protocol: str
    """tcp or udp."""
    last: int = 0
    """If the number is to be chosen from a range that begins with host_port: where that ends."""


class Wanted(NamedTuple):
    """All of it."""

    attachments: list[Attachment]
    ports: list[Publish]
    hosts: list[tuple[str, str]]
    """Lines of /etc/hosts: name and address, which may be `host-gateway`."""
    dns: list[str]
    dns_search: list[str]
    dns_options: list[str]


class Asked(Protocol):
    """What of a container's configuration is about networks."""

    @property
    def network(self) -> str:
        """The network it is on, unless `networks` says more."""

    @property
    def networks(self) -> dict[str, Any]:
        """All else, as cli/flags/network.py has read it."""

    @property
    def ports(self) -> list[str]:
        """That the image says it listens on: PORT/PROTOCOL."""


def read(asked: Asked) -> Wanted:
    """What a container wants."""
    networks = asked.networks
    attachments = networks.get("attachments", [[asked.network]])
    ports = [Publish(*one) for one in networks.get("ports", [])]
    if networks.get("publish_all"):
        ports += _all_others(ports, [*asked.ports, *networks.get("exposed", [])])
    return Wanted(
        attachments=[Attachment(*one) for one in attachments],
        ports=ports,
        hosts=[(name, address) for name, address in networks.get("hosts", [])],
        dns=networks.get("dns", []),
        dns_search=networks.get("dns_search", []),
        dns_options=networks.get("dns_options", []),
    )


def _all_others(published: list[Publish], exposed: list[str]) -> list[Publish]:
    """What is exposed and not published yet, on ports to be chosen."""
    found = {(one.port, one.protocol) for one in published}
    added = []
    for text in exposed:
        first, _, last = text.partition("/")[0].partition("-")
        protocol = text.partition("/")[2] or "tcp"
        for port in range(int(first), int(last or first) + 1):
            if (port, protocol) not in found:
                found.add((port, protocol))
                added.append(Publish("", 0, port, protocol))
    return added
