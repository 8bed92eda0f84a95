"""The options that say what a container shares with the machine or another container."""

from typing import Any

from runtime.cli.options import Parsed
from runtime.container import sysctls
from runtime.container.store import Store
from runtime.errors import UsageError

_KINDS = {"pid": "pid", "ipc": "ipc", "uts": "uts", "cgroupns": "cgroup"}


def read(options: Parsed, store: Store, network: str) -> dict[str, Any]:
    """Fields of a Config. Raises UsageError, and Refusal: there is no such container."""
    kinds = {kind: _mode(option, options.one(option), store) for option, kind in _KINDS.items()}
    if network == "host" or network.startswith("container:"):
        kinds["net"] = network
    kinds = {kind: mode for kind, mode in kinds.items() if mode != "private"}
    if options.one("userns", "host") != "host":
        raise UsageError(f"unknown --userns {options.one('userns')!r}: host is the one there is")
    if kinds.get("uts") and (options.one("hostname") or options.one("domainname")):
        raise UsageError("conflicting options: --hostname and --uts")
    return {
        "namespaces": kinds,
        "privileged": options.on("privileged"),
        "sysctls": dict(sysctls.parse(text, kinds) for text in options.many("sysctl")),
    }


def _mode(option: str, text: str, store: Store) -> str:
    if text in ("", "private", "shareable"):
        return "private"
    if text == "host":
        return text
    kind, _, name = text.partition(":")
    if kind != "container" or not name or option == "cgroupns":
        raise UsageError(f"unknown --{option} {text!r}: there are host, private and container:NAME")
    return f"container:{store.find(name).id}"
