"""registries.conf, version 2 (containers-registries.conf(5)): where a repository really is, and how far it is trusted.

Of its keys these count: registry (prefix, location, insecure, blocked, mirror-by-digest-only), mirror (location,
insecure, pull-from-mirror) and aliases. unqualified-search-registries does not: a name without a registry is
Docker Hub's unless an alias says otherwise, since the first of several registries that happens to have such a
name may be anybody's.
"""

import glob
import ipaddress
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from runtime.image.reference import DEFAULT_DOMAIN, Reference
from runtime.image.registry.errors import RegistryError

HUB_SERVER = "registry-1.docker.io"
_PULLS = ("all", "digest-only", "tag-only")


class Endpoint(NamedTuple):
    """One address of a repository."""

    host: str
    path: str
    mirror: bool = False

    @property
    def server(self) -> str:
        """Where to connect to."""
        return HUB_SERVER if self.host == DEFAULT_DOMAIN else self.host

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


class _Mirror(NamedTuple):
    location: str
    insecure: bool
    by: str
    """all, digest-only or tag-only."""


class _Rule(NamedTuple):
    prefix: str
    location: str
    insecure: bool
    blocked: bool
    mirrors: list[_Mirror]


class Configuration(NamedTuple):
    """All files together; `tls_verify` is what the command line said, which goes before them."""

    rules: dict[str, _Rule]
    aliases: dict[str, str]
    tls_verify: bool | None = None

    def endpoints(self, reference: Reference, pulling: bool = True) -> list[Endpoint]:
        """Where to try, in order: mirrors first, and only for pulling. Raises RegistryError if it is blocked."""
        name = self._unaliased(reference)
        rule = self._rule(name)
        if rule is None:
            return [_endpoint(name)]
        if rule.blocked:
            raise RegistryError(f"{reference.familiar}: registries.conf blocks {rule.prefix}")
        rest = _rest(name, rule.prefix)
        wanted = "digest-only" if reference.digest else "tag-only"
        mirrors = [mirror for mirror in rule.mirrors if pulling and mirror.by in ("all", wanted)]
        found = [_endpoint(mirror.location + rest, mirror=True) for mirror in mirrors]
        return [*found, _endpoint(rule.location + rest if rule.location else name)]

    def is_insecure(self, host: str) -> bool:
        """Whether the user said that this server need not prove who it is, nor even speak TLS."""
        if self.tls_verify is not None:
            return not self.tls_verify
        mirrors = [mirror for rule in self.rules.values() for mirror in rule.mirrors]
        marked = [(rule.location or rule.prefix, rule.insecure) for rule in self.rules.values()]
        marked += [(mirror.location, mirror.insecure) for mirror in mirrors]
        return any(insecure and _is_at(host, location.partition("/")[0]) for location, insecure in marked)

    def _unaliased(self, reference: Reference) -> str:
        if reference.domain != DEFAULT_DOMAIN:
            return reference.name
        return self.aliases.get(reference.familiar_name, reference.name)

    def _rule(self, name: str) -> _Rule | None:
        matching = [rule for rule in self.rules.values() if _matches(name, rule.prefix)]
        return max(matching, key=lambda rule: len(rule.prefix), default=None)


def is_loopback(host: str) -> bool:
    """Whether HOST[:PORT] can only be this machine."""
    bare = _without_port(host)
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def load(tls_verify: bool | None = None, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read what there is, each file going before the ones before it. Raises RegistryError."""
    configuration = Configuration({}, {}, tls_verify)
    for path in _files(environ):
        _read(path, configuration)
    return configuration


def _files(environ: Mapping[str, str]) -> list[str]:
    alone = environ.get("CONTAINERS_REGISTRIES_CONF", "")
    if alone:
        return [alone]
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME') or os.path.expanduser('~')}/.config"
    own, common = f"{home}/containers/registries.conf", "/etc/containers/registries.conf"
    main = [path for path in (own, common) if os.path.exists(path)][:1]
    return main + [part for path in (common, own) for part in sorted(glob.glob(f"{glob.escape(path)}.d/*.conf"))]


def _read(path: str, into: Configuration) -> None:
    import tomllib

    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise RegistryError(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
    if "registries" in content:
        raise RegistryError(f"{path}: it is of version 1 of registries.conf, and version 2 is the one that is read")
    try:
        for table in content.get("registry", []):
            rule = _parse_rule(table)
            into.rules[rule.prefix] = rule
        into.aliases.update({str(name): str(place) for name, place in content.get("aliases", {}).items() if place})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RegistryError(f"{path}: it isn't of the form of registries.conf version 2: {error}") from None


def _parse_rule(table: dict[str, Any]) -> _Rule:
    location = str(table.get("location", ""))
    prefix = str(table.get("prefix") or location)
    if not prefix:
        raise ValueError("a registry has neither a prefix nor a location")
    by = "digest-only" if table.get("mirror-by-digest-only") is True else "all"
    mirrors = [_parse_mirror(mirror, by) for mirror in table.get("mirror", [])]
    return _Rule(prefix, location, table.get("insecure") is True, table.get("blocked") is True, mirrors)


def _parse_mirror(table: dict[str, Any], by: str) -> _Mirror:
    by = str(table.get("pull-from-mirror") or by)
    if by not in _PULLS:
        raise ValueError(f"pull-from-mirror is one of {', '.join(_PULLS)}")
    return _Mirror(str(table["location"]), table.get("insecure") is True, by)


def _endpoint(name: str, mirror: bool = False) -> Endpoint:
    host, _, path = name.partition("/")
    if host == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return Endpoint(host, path, mirror)


def _matches(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        return _is_at(name.partition("/")[0], prefix)
    return name == prefix or name.startswith(f"{prefix}/")


def _is_at(host: str, place: str) -> bool:
    """Whether HOST[:PORT] is the one that is meant, or one of those that `*.DOMAIN` means, on whatever port."""
    return _without_port(host).endswith(place[1:]) if place.startswith("*.") else host == place


def _rest(name: str, prefix: str) -> str:
    return name[len(name.partition("/")[0]) :] if prefix.startswith("*.") else name[len(prefix) :]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
