"""The options that say what network a container has."""

import os
import re
from typing import Any

from runtime.cli.flags.namespaces import id_of
from runtime.cli.options import Parsed
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError
from runtime.network import ports, userland
from runtime.network.networks import DEFAULT, Networks
from runtime.network.pools import parse_address
from runtime.network.wanted import Attachment

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
_SAYING_MORE = ("ip", "ip6", "mac-address", "network-alias")
_NEEDING = (*_SAYING_MORE, "publish", "publish-all")


def mode(options: Parsed, store: Store) -> str:
    """host, none, container:ID, or the name of the first network. Raises UsageError, and Refusal: there is no such."""
    names = [_split(text)[0] for text in options.many("network")] or [DEFAULT]
    for name in names:
        if name in ("host", "none") or name.startswith("container:"):
            if len(names) > 1:
                raise UsageError(f"--network {name}: it can't be one of several")
            _refuse_what_needs_a_network(options, name)
            return _shared(name, store)
    if os.geteuid() != 0:
        return _carried(options, names)
    try:
        found = [name if name == DEFAULT else Networks(store.places).find(name).name for name in names]
    except Refusal as error:
        raise Refusal(str(error)) from None  # with the status of a command that didn't run
    if len(set(found)) < len(found):
        raise UsageError("--network: the same one twice")
    return found[0]


def _carried(options: Parsed, names: list[str]) -> str:
    """What an ordinary user's container can have: one network that pasta or slirp4netns carries."""
    if len(names) > 1 or names[0] not in (DEFAULT, *userland.PROGRAMS):
        words = ", ".join((DEFAULT, *userland.PROGRAMS))
        raise UsageError(f"--network {names[0]}: an ordinary user's container has one of {words}, host and none")
    for option in _SAYING_MORE:
        if options.many(option):
            raise UsageError(f"--{option} needs a bridge, which only root's containers can have")
    userland.find(names[0])
    return names[0]


def _shared(name: str, store: Store) -> str:
    kind, _, container = name.partition(":")
    if kind != "container":
        return name
    return f"container:{id_of(container, store)}"


def _refuse_what_needs_a_network(options: Parsed, name: str) -> None:
    for option in _NEEDING:
        if options.many(option):
            raise UsageError(f"--{option} needs a network such as bridge: it means nothing with --network {name}")


def read(options: Parsed) -> dict[str, Any]:
    """What a Config keeps of these options besides; only what was given."""
    values = {
        "attachments": _attachments(options),
        "ports": [list(one) for text in options.many("publish") for one in ports.parse(text)],
        "publish_all": options.on("publish-all"),
        "exposed": [ports.check_exposed(text) for text in options.many("expose")],
        "hosts": [_host(text) for text in options.many("add-host")],
        "dns": [_address("dns", text) for text in options.many("dns")],
        "dns_search": options.many("dns-search"),
        "dns_options": options.many("dns-option"),
    }
    return {key: value for key, value in values.items() if value}


def _attachments(options: Parsed) -> list[list[Any]]:
    """The networks, if there is more to say than that it is on one."""
    given = [_attachment(text) for text in options.many("network")]
    says_more = any(options.many(name) for name in _SAYING_MORE) or any(one != Attachment(one.network) for one in given)
    if len(given) < 2 and not says_more:
        return []
    first, *others = given or [Attachment(DEFAULT)]
    first = first._replace(
        ip=_address("ip", options.one("ip")) or first.ip,
        ip6=_address("ip6", options.one("ip6")) or first.ip6,
        mac=_mac(options.one("mac-address")) or first.mac,
    )
    aliases = options.many("network-alias")
    return [list(one._replace(aliases=[*one.aliases, *aliases])) for one in (first, *others)]


def _split(text: str) -> tuple[str, str]:
    """The network's name, and what is said about it: NAME:KEY=VALUE,... or name=NAME,KEY=VALUE,..."""
    if text.startswith("container:"):
        return text, ""
    if text.startswith("name="):
        name, _, rest = text.removeprefix("name=").partition(",")
    else:
        name, _, rest = text.partition(":")
    return name, rest


def _attachment(text: str) -> Attachment:
    name, rest = _split(text)
    found = Attachment(name)
    for setting in rest.split(",") if rest else ():
        key, _, value = setting.partition("=")
        if key == "alias":
            found = found._replace(aliases=[*found.aliases, value])
        elif key == "ip":
            found = found._replace(ip=_address("network", value))
        elif key == "ip6":
            found = found._replace(ip6=_address("network", value))
        elif key in ("mac", "mac-address"):
            found = found._replace(mac=_mac(value))
        else:
            raise UsageError(f"invalid --network {text}: unknown option {key!r} (there are ip, ip6, mac and alias)")
    return found


def _address(option: str, text: str) -> str:
    try:
        return str(parse_address(text, f"--{option}")) if text else ""
    except Refusal as error:
        raise UsageError(str(error)) from None


def _mac(text: str) -> str:
    if text and (not _MAC.fullmatch(text) or int(text[:2], 16) & 1):
        raise UsageError(f"invalid --mac-address {text}: six bytes, such as 02:42:ac:11:00:02, the first even")
    return text.lower().replace("-", ":")


def _host(text: str) -> list[str]:
    """One --add-host: name and address. `=` may stand for the first colon."""
    name, _, address = text.partition("=" if "=" in text else ":")
    if not _NAME.fullmatch(name) or not address:
        raise UsageError(f"invalid --add-host {text}: it is NAME:ADDRESS")
    address = address.removeprefix("[").removesuffix("]")
    return [name, address if address == "host-gateway" else _address("add-host", address)]
