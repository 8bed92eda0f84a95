"""Which containers are on which networks: the leases.

    RUNROOT/ID/network.json   what the container ID has; there while it runs, and until a sweep if it crashed

The lease of an address is nothing else but this file, so it can't outlive its container, and no second record has to
agree with it. Written under the lock of Networks.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_interface
from typing import Any, NamedTuple

from runtime.network.pools import Address
from runtime.network.wanted import Publish
from runtime.places import Places, identities


class Endpoint(NamedTuple):
    """A container's end of one network."""

    network_id: str
    """Nothing where userland.py carries the packets."""
    network: str
    """Its name."""
    interface: str
    """Inside the container."""
    host_interface: str
    """The other end, on the bridge."""
    mac: str
    addresses: list[str]
    """With their prefixes: 10.90.0.2/16."""
    gateways: list[str]
    """Of the addresses; none on an internal network."""
    names: list[str]
    """Under which others on the network find it."""

    def address(self, version: int) -> str:
        """The address of that version of IP without its prefix, or nothing."""
        for text in self.addresses:
            if ip_interface(text).version == version:
                return text.partition("/")[0]
        return ""


class Member(NamedTuple):
    """All that one container has."""

    endpoints: list[Endpoint]
    ports: list[Publish] = []
    """With the numbers chosen. They lead to the first endpoint that isn't internal."""
    helper: tuple[int, int] = (0, 0)
    """The process that serves its ports: pid, and when it started in clock ticks. 0 if there is none."""
    names: tuple[int, int] = (0, 0)
    """The one that serves its names: mostly the same."""
    servers: list[str] = []
    """Name servers that are asked about what isn't on its networks."""
    tool: tuple[int, int] = (0, 0)
    """The process that carries packets for an ordinary user: see userland.py."""

    def published(self) -> Endpoint | None:
        """Where its ports lead."""
        reachable = [endpoint for endpoint in self.endpoints if endpoint.gateways]
        return next(iter(reachable or self.endpoints), None)


def path_of(places: Places, identity: str) -> str:
    """Where the record of a container is."""
    return f"{places.runroot}/{identity}/network.json"


def read(places: Places, identity: str) -> Member | None:
    """What a container has; None if it has none of ours."""
    import json

    with suppress(FileNotFoundError), open(path_of(places, identity), encoding="ascii") as file:
        value: dict[str, Any] = json.load(file)
        value["endpoints"] = [Endpoint(*one) for one in value["endpoints"]]
        value["ports"] = [Publish(*one) for one in value["ports"]]
        value |= {key: tuple(value[key]) for key in ("helper", "names", "tool")}
        return Member(**value)
    return None


def write(places: Places, identity: str, member: Member) -> None:
    """Replace what is recorded. Precondition: the lock of Networks is held."""
    import json

    path = path_of(places, identity)
    with open(f"{path}.new", "w", encoding="ascii") as file:
        json.dump(member._asdict(), file)
    os.rename(f"{path}.new", path)


def forget(places: Places, identity: str) -> None:
    """Give its leases back. Precondition: the lock of Networks is held."""
    with suppress(FileNotFoundError):
        os.unlink(path_of(places, identity))


def everybody(places: Places) -> Iterator[tuple[str, Member]]:
    """All containers that have something, by id."""
    for identity in identities(places.runroot):
        member = read(places, identity)
        if member is not None:
            yield identity, member


def taken(everyone: dict[str, Member], network_id: str) -> set[Address]:
    """The addresses that are leased on a network."""
    return {
        ip_interface(text).ip
        for member in everyone.values()
        for endpoint in member.endpoints
        if endpoint.network_id == network_id
        for text in endpoint.addresses
    }
