"""The networks of one state directory, as records.

    ROOT/networks/NAME.json   one network; replaced at once, never changed
    ROOT/networks/lock        held while networks, leases, links or rules change; its time tells when they did

The network `bridge` is there as soon as it is asked for. A network is only a record until a container is on it: its
bridge and its rules come with the first and go with the last (see attach.py), so nothing has to be set up again after
a restart of the machine, and nothing stays behind.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from typing import Any, NamedTuple

from runtime.errors import Refusal, named
from runtime.names import RULE, SHORT_ID, is_name
from runtime.network.links import Subnet
from runtime.places import Places

DEFAULT = "bridge"
BUILT_IN = ("bridge", "host", "none")
MTU = "com.docker.network.driver.mtu"
INTERFACE = "com.docker.network.bridge.name"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"


class Pool(NamedTuple):
    """Addresses of a network, as text: a subnet, its gateway, and the part that leases are chosen from."""

    subnet: str
    gateway: str
    ip_range: str


class Network(NamedTuple):
    """One network."""

    name: str
    id: str
    """64 hexadecimal digits."""
    created_s: float
    pools: list[Pool]
    """One for each version of IP."""
    internal: bool
    """Whether its containers reach one another alone."""
    labels: dict[str, str]
    options: dict[str, str]
    interface: str
    """Of the bridge; 15 characters are the most."""

    @property
    def mtu(self) -> int:
        """The largest packet, or 0 for the kernel's default."""
        return int(self.options.get(MTU, "0"))

    @property
    def masquerades(self) -> bool:
        """Whether packets that leave for elsewhere carry this machine's address."""
        return self.options.get(MASQUERADE, "true") == "true"

    def subnets(self) -> list[Subnet]:
        """Of all its pools."""
        return [ip_network(pool.subnet) for pool in self.pools]


class Networks:
    """All networks of one state directory."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._directory = f"{places.root}/networks"
        self._lock = f"{self._directory}/lock"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Keep every other process from changing networks, leases, links or rules: the lock's descriptor."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
            now_ns = time.time_ns()  # by itself the kernel would tell two changes within a tick by nothing
            os.utime(fd, ns=(now_ns, now_ns))
        finally:
            os.close(fd)

    def changed_ns(self) -> int:
        """When something was last changed."""
        with suppress(FileNotFoundError):
            return os.stat(self._lock).st_mtime_ns
        return 0

    def all(self) -> list[Network]:
        """Every network, by name."""
        try:
            names = sorted(name.removesuffix(".json") for name in os.listdir(self._directory) if name.endswith(".json"))
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            with suppress(FileNotFoundError):  # removed meanwhile
                found.append(self._read(name))
        return found

    def find(self, text: str) -> Network:
        """The network of that name, id or beginning of an id. Raises Refusal: none, or more than one."""
        networks = self.all()
        for network in networks:
            if text in (network.name, network.id):
                return network
        matches = [network for network in networks if text and network.id.startswith(text)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise Refusal(f"{text} is the beginning of more than one network's id", status=1)
        raise Refusal(f"no such network: {text}", status=1)

    def add(self, network: Network) -> None:
        """Keep a new network. Precondition: the lock is held. Raises Refusal if the name is taken."""
        if os.path.exists(self._path(network.name)) or network.name in ("host", "none"):
            raise Refusal(f"network with name {network.name} already exists", status=1)
        self.replace(network)

    def replace(self, network: Network) -> None:
        """Keep a network as it is now. Precondition: the lock is held."""
        import json

        draft = f"{self._path(network.name)}.new"
        with named(draft), open(draft, "w", encoding="ascii") as file:
            json.dump(network._asdict(), file, indent=1)
            file.write("\n")
        os.rename(draft, self._path(network.name))

    def remove(self, network: Network) -> None:
        """Forget a network. Precondition: the lock is held, and no container is on it."""
        os.unlink(self._path(network.name))

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}.json"

    def _read(self, name: str) -> Network:
        import json

        with open(self._path(name), encoding="ascii") as file:
            value: dict[str, Any] = json.load(file)
        value["pools"] = [Pool(*pool) for pool in value["pools"]]
        return Network(**value)


def make(name: str, pools: list[Pool], **rest: Any) -> Network:
    """A network that isn't kept yet; `rest`: internal, labels, options, interface. Raises Refusal on a bad name."""
    if not is_name(name):
        raise Refusal(f"invalid network name {name!r}: {RULE}", 1)
    identity = os.urandom(32).hex()
    values: dict[str, Any] = {"internal": False, "labels": {}, "options": {}, **rest}
    values["interface"] = values.get("interface") or f"pu-{identity[:SHORT_ID]}"
    return Network(name=name, id=identity, created_s=time.time(), pools=pools, **values)
