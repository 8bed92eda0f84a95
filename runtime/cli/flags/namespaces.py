"""The options that say what a container shares with the machine or another container."""

import os
from typing import Any

from runtime.cli.options import Parsed
from runtime.container import id_ranges, sysctls, userns
from runtime.container.config import Maps
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError

_KINDS = {"pid": "pid", "ipc": "ipc", "uts": "uts", "cgroupns": "cgroup"}

_OF_OTHERS = "container:"
_KEEP_ID = "keep-id"


def read(options: Parsed, store: Store, network: str) -> dict[str, Any]:
    """Fields of a Config. Raises UsageError, and Refusal: there is no such container."""
    kinds = {kind: _mode(option, options.one(option), store) for option, kind in _KINDS.items()}
    if network == "host" or network.startswith("container:"):
        kinds["net"] = network
    kinds = {kind: mode for kind, mode in kinds.items() if mode != "private"}
    user, maps = _user(options, store)
    if user:
        kinds["user"] = user
    more = {}
    if user == _KEEP_ID:
        maps, own = userns.keep_id(options.one("userns"))
        kinds["user"], more["user"] = "private", options.one("user") or own
    if kinds.get("uts") and (options.one("hostname") or options.one("domainname")):
        raise UsageError("conflicting options: --hostname and --uts")
    return {
        "namespaces": kinds,
        **more,
        "maps": maps,
        "clocks": dict(_clock(text) for text in options.many("time-offset")),
        "privileged": options.on("privileged"),
        "sysctls": dict(sysctls.parse(text, kinds) for text in options.many("sysctl")),
    }


def _user(options: Parsed, store: Store) -> tuple[str, Maps | None]:
    """`private`, keep-id, container:ID, or nothing for the machine's; and the maps, where they are known already."""
    uids, gids = options.many("uidmap"), options.many("gidmap")
    text = options.one("userns", "private" if uids or gids else "host")
    if text.startswith(_OF_OTHERS) and os.geteuid() != 0:
        return f"{_OF_OTHERS}{id_of(text.removeprefix(_OF_OTHERS), store)}", None
    keeps_id = text.partition(":")[0] == _KEEP_ID and os.geteuid() != 0
    if text != "host" and os.geteuid() != 0 and not keeps_id:
        raise UsageError(f"--userns {text}: it needs root; the containers of others are in a namespace of their user's")
    if (uids or gids) and text != "private":
        raise UsageError(f"conflicting options: --{'uidmap' if uids else 'gidmap'} and --userns {text}")
    if keeps_id:
        return _KEEP_ID, None
    if text in ("private", "auto"):
        return "private", id_ranges.parse_maps(uids, gids) if uids or gids else None
    if text == "host":
        return "", None
    kind, _, name = text.partition(":")
    if kind != "container" or not name:
        known = "host, private, auto and container:NAME, and keep-id for ordinary users"
        raise UsageError(f"unknown --userns {text!r}: there are {known}")
    other = store.find(name)
    maps = other.config().maps
    return (f"container:{other.id}", maps) if maps else ("", None)


def _clock(text: str) -> tuple[str, int]:
    name, _, seconds = text.partition("=")
    if name not in ("boottime", "monotonic") or not seconds.removeprefix("-").isdigit() or not seconds.isascii():
        raise UsageError(f"invalid --time-offset {text!r}: it is boottime=SECONDS or monotonic=SECONDS")
    return name, int(seconds)


def others(options: Parsed, store: Store) -> list[str]:
    """The ids of the containers of which an ordinary user's is to share something. Raises Refusal: it can't be."""
    modes = [text for option in (*_KINDS, "userns", "network") for text in options.many(option)]
    found = [id_of(mode.removeprefix(_OF_OTHERS), store) for mode in modes if mode.startswith(_OF_OTHERS)]
    for identity in found:
        if (config := store.find(identity).config()).maps is not None:
            raise Refusal(f"container {config.name} is in another user namespace: it was made with --userns {_KEEP_ID}")
    return found


def id_of(name: str, store: Store) -> str:
    """Of a container. Raises Refusal, with the status of a command that didn't run: there is no such container."""
    try:
        return store.find(name).id
    except Refusal as error:
        raise Refusal(str(error)) from None


def _mode(option: str, text: str, store: Store) -> str:
    if text in ("", "private", "shareable"):
        return "private"
    if text == "host":
        return text
    kind, _, name = text.partition(":")
    if kind != "container" or not name or option == "cgroupns":
        raise UsageError(f"unknown --{option} {text!r}: there are host, private and container:NAME")
    return f"{_OF_OTHERS}{id_of(name, store)}"
