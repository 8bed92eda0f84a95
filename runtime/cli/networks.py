"""The verbs `network` and `port`."""

import errno
import os
import sys
from collections.abc import Callable

from runtime.cli.filters import PRUNE_FILTER, has_name, read_prune_filters
from runtime.cli.flags.process import read_labels
from runtime.cli.options import FORCE, Group, Option, Parsed, confirm, verb
from runtime.cli.run import each, open_store
from runtime.cli.tables import FORMAT, FORMAT_DESCRIBED, QUIET, print_described, print_rows
from runtime.container import control
from runtime.container.config import Config
from runtime.container.record import Container
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError
from runtime.names import SHORT_ID
from runtime.network import attach, creation, describe, leases, members
from runtime.network.networks import BUILT_IN, DEFAULT, Network, Networks
from runtime.network.pools import parse_address
from runtime.network.wanted import Attachment, read
from runtime.places import Places

_FORCE = Option("force", "accepted for Docker's sake", "f")
_FORCE_RM = Option("force", "don't complain if there is none", "f")
_CREATE = (
    Option("driver", "bridge, which is the only one", "d", "DRIVER"),
    Option("gateway", "this machine's address on it, for the --subnet in the same place", "", "ADDRESS"),
    Option("internal", "its containers reach one another alone"),
    Option("ip-range", "where addresses are chosen, for the --subnet in the same place", "", "SUBNET"),
    Option("ipv6", "IPv6, too"),
    Option("label", "note something about the network", "", "KEY[=VALUE]"),
    Option("opt", "mtu, com.docker.network.bridge.name or .enable_ip_masquerade", "o", "KEY=VALUE"),
    Option("subnet", "its addresses: one for each version of IP", "", "SUBNET"),
)
_LS = (
    Option("filter", "only those with id, name, label, driver, scope, type or dangling", "f", "KEY=VALUE"),
    FORMAT,
    Option("no-trunc", "don't shorten ids"),
    QUIET,
)
_CONNECT = (
    Option("alias", "one more name on it", "", "NAME"),
    Option("ip", "the IPv4 address", "", "ADDRESS"),
    Option("ip6", "the IPv6 address", "", "ADDRESS"),
)
_SOME = "NETWORK [NETWORK...]"
_BOTH = "NETWORK CONTAINER"
_FIELDS = ("ID", "Name", "Driver", "Scope", "Internal", "IPv6", "Labels", "CreatedAt")


@verb("network create", "NETWORK", "Make a network, and print its id.", _CREATE, least=1, most=1)
def _create(options: Parsed, places: Places) -> int:
    _, networks = _open(places)
    driver = options.one("driver", "bridge")
    if driver != "bridge":
        raise UsageError(f"unknown --driver {driver!r}: there is bridge")
    addresses = (options.many("subnet"), options.many("gateway"), options.many("ip-range"))
    ipv6, internal = options.on("ipv6"), options.on("internal")
    labels, settings = read_labels(options.many("label")), _pairs(options.many("opt"))
    print(creation.create(networks, options.words[0], addresses, ipv6, internal, labels, settings).id)
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


@verb("network ls", "", "List networks.", _LS, most=0)
def _list(options: Parsed, places: Places) -> int:
    store, networks = _look(places)
    rows = [_row(one, options.on("no-trunc")) for one in networks.all()]
    for name, driver in (("host", "host"), ("none", "null")):
        rows.append({**dict.fromkeys(_FIELDS, ""), "Name": name, "Driver": driver, "Scope": "local"})
    for text in options.many("filter"):
        used = _used(store) if text.startswith("dangling=") else set()
        rows = [row for row in rows if _passes(row, text, used)]
    rows.sort(key=lambda row: str(row["Name"]))
    if options.on("quiet"):
        print("".join(f"{row['ID']}\n" for row in rows if row["ID"]), end="")
        return 0
    columns = (("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope"))
    print_rows(rows, columns, options.one("format"), _FIELDS)
    return 0


def _row(one: Network, full: bool) -> dict[str, str]:
    described = describe.describe_network(one, {})
    return {
        "ID": one.id if full else one.id[:SHORT_ID],
        "Name": one.name,
        "Driver": "bridge",
        "Scope": "local",
        "Internal": str(one.internal).lower(),
        "IPv6": str(described["EnableIPv6"]).lower(),
        "Labels": ",".join(f"{key}={value}" for key, value in one.labels.items()),
        "CreatedAt": described["Created"],
    }


def _passes(row: dict[str, str], text: str, used: set[str]) -> bool:
    key, _, value = text.partition("=")
    if key == "name":
        return has_name(row["Name"], value)
    if key == "id":
        return bool(row["ID"]) and row["ID"].startswith(value[:SHORT_ID])
    if key == "driver":
        return value == row["Driver"]
    if key == "scope":
        return value == row["Scope"]
    if key == "dangling" and value in ("true", "false"):
        return (row["Name"] in {*used, *BUILT_IN}) == (value == "false")
    if key == "label":
        return any(label == value or label.partition("=")[0] == value for label in row["Labels"].split(","))
    if key == "type" and value in ("builtin", "custom"):
        return (row["Name"] in BUILT_IN) == (value == "builtin")
    known = "id, name, label, driver, scope, type=builtin, type=custom, dangling=true and dangling=false"
    raise UsageError(f"invalid --filter {text!r}: there are {known}")


@verb("network inspect", _SOME, "Show all about networks.", (FORMAT_DESCRIBED,), least=1)
def _inspect(options: Parsed, places: Places) -> int:
    _, networks = _look(places)
    everyone = dict(members.everybody(networks.places))
    found, status = [], 0
    for name in options.words:
        try:
            found.append(describe.describe_network(networks.find(name), everyone))
        except Refusal as error:
            print(f"pyunion network inspect: {error}", file=sys.stderr)
            status = error.status
    print_described(found, options.one("format"))
    return status


@verb("network rm", _SOME, "Remove networks that no running container is on.", (_FORCE_RM,), least=1)
def _remove(options: Parsed, places: Places) -> int:
    _, networks = _open(places)
    return each("network rm", options.words, lambda name: _remove_one(networks, name, options.on("force")))


def _remove_one(networks: Networks, name: str, force: bool = False) -> bool:
    """Whether there was one, which must be so unless by force."""
    if name in BUILT_IN:
        raise Refusal(f"{name} is built in and can't be removed", status=1)
    with networks.locked():
        if force and not any(name in (one.name, one.id) for one in networks.all()):
            return False
        one = networks.find(name)
        users = [end.names[0] for _, member in members.everybody(networks.places) for end in _ends(member, one)]
        if users:
            raise Refusal(f"network {one.name} is in use by {', '.join(users)}", status=1)
        if one.name == DEFAULT:
            raise Refusal(f"{DEFAULT} is built in and can't be removed", status=1)
        networks.remove(one)
        return True


def _ends(member: members.Member, one: Network) -> list[members.Endpoint]:
    return [end for end in member.endpoints if end.network_id == one.id]


@verb("network prune", "", "Remove all networks that no container is on.", (FORCE, PRUNE_FILTER), most=0)
def _prune(options: Parsed, places: Places) -> int:
    wanted = read_prune_filters(options.many("filter"))
    confirm(options, "remove all networks that no container is on")
    store, networks = _open(places)
    used = _used(store)
    for one in networks.all():
        if one.name not in {*used, *BUILT_IN} and wanted(one.labels, one.created_s):
            _remove_one(networks, one.name)
            print(one.name)
    return 0


def _used(store: Store) -> set[str]:
    return {name for container in store.all() for name in _networks_of(container)}


def _networks_of(container: Container) -> list[str]:
    config = container.config()
    return [config.network, *(one.network for one in read(config).attachments)]


@verb("network connect", _BOTH, "Put a container on one more network.", _CONNECT, least=2, most=2)
def _connect(options: Parsed, places: Places) -> int:
    store, one, container = _both(options, places)
    ip, ip6 = (str(parse_address(text, "--ip")) if (text := options.one(key)) else "" for key in ("ip", "ip6"))
    wish = Attachment(one.name, ip, ip6, "", options.many("alias"))
    config = container.config()
    if _runs(container):
        attach.connect(places, container.id, config.name, wish, container.state()["pid"])
    elif any(other.network == one.name for other in read(config).attachments):
        raise Refusal(f"container {config.name} is already on network {one.name}", status=1)
    _keep(store, container, lambda attachments: [*attachments, wish])
    _tell(container)
    return 0


@verb("network disconnect", _BOTH, "Take a container off a network.", (_FORCE,), least=2, most=2)
def _disconnect(options: Parsed, places: Places) -> int:
    store, one, container = _both(options, places)
    config = container.config()
    if _runs(container):
        attach.disconnect(places, container.id, config.name, one, container.state()["pid"])
    elif all(other.network != one.name for other in read(config).attachments):
        raise Refusal(f"container {config.name} is not on network {one.name}", status=1)
    _keep(store, container, lambda attachments: [other for other in attachments if other.network != one.name])
    _tell(container)
    return 0


def _both(options: Parsed, places: Places) -> tuple[Store, Network, Container]:
    store, networks = _open(places)
    if options.words[0] in ("host", "none"):
        raise Refusal(f"a container can't be put on {options.words[0]}, or taken off it, once it is made", status=1)
    one, container = networks.find(options.words[0]), store.find(options.words[1])
    mode = container.config().network
    if mode in ("host", "none") or mode.startswith("container:"):
        raise Refusal(f"container {container.config().name} was made with --network {mode}, which stays so", status=1)
    return store, one, container


def _tell(container: Container) -> None:
    """Have what is in a running container follow. Raises Refusal: something can't."""
    if _runs(container) and (complaint := control.ask_networks(container.run_directory)):
        raise Refusal(complaint, status=1)


def _runs(container: Container) -> bool:
    return str(container.state()["status"]) == "running"


def _keep(store: Store, container: Container, change: Callable[[list[Attachment]], list[Attachment]]) -> None:
    """Have the container on other networks when it starts again."""

    def changed(config: Config) -> Config:
        kept = [list(one) for one in change(read(config).attachments)]
        return config._replace(networks={**config.networks, "attachments": kept})

    store.change(container, changed)


def _open(places: Places) -> tuple[Store, Networks]:
    """With the network that containers are on unless told otherwise. Raises Refusal: an ordinary user has none."""
    if os.geteuid() != 0:
        raise Refusal("networks need root: an ordinary user's container has one of its own, or this machine's")
    store = open_store(places)
    store.prepare()
    networks = Networks(places)
    with networks.locked():
        leases.default_network(networks)
    return store, networks


def _look(places: Places) -> tuple[Store, Networks]:
    """The same for who only looks; that network may be missing for other users, and where nothing can be written."""
    if os.geteuid() != 0:
        return Store(places), Networks(places)
    try:
        return _open(places)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        return Store(places), Networks(places)


network = Group(
    "network", "Networks of containers.", (_create, _list, _inspect, _remove, _prune, _connect, _disconnect)
)


@verb("port", "CONTAINER [PORT[/PROTOCOL]]", "Show where a container's ports are.", least=1, most=2)
def port(options: Parsed, places: Places) -> int:
    """`pyunion port`. Raises Refusal."""
    container = open_store(places).find(options.words[0])
    own = members.read(places, container.id)
    published = describe.published(own) if own is not None else {}
    if len(options.words) == 1:
        for inside, spots in published.items():
            print("".join(f"{inside} -> {_shown(where)}\n" for where in spots), end="")
        return 0
    wanted = options.words[1] if "/" in options.words[1] else f"{options.words[1]}/tcp"
    if wanted not in published:
        raise Refusal(f"port {wanted} of container {options.words[0]} is not published", status=1)
    print("".join(f"{_shown(where)}\n" for where in published[wanted]), end="")
    return 0


def _shown(where: dict[str, str]) -> str:
    address = f"[{where['HostIp']}]" if ":" in where["HostIp"] else where["HostIp"]
    return f"{address}:{where['HostPort']}"
