"""All that the verbs share: configuration, logins and connections, made into repositories."""

import os
from typing import NamedTuple

from runtime.image.reference import Reference
from runtime.image.registry.authority import Authority
from runtime.image.registry.configuration import Endpoint, load
from runtime.image.registry.credentials import Credential, login_files
from runtime.image.registry.errors import RegistryError
from runtime.image.registry.repository import Repository
from runtime.image.registry.transport import Patience, Transport


class Access(NamedTuple):
    """What the command line says of registries."""

    tls_verify: bool | None = None
    """None: as registries.conf says."""
    authfile: str = ""
    cert_dir: str = ""
    credential: Credential | None = None
    """Goes before the login files."""
    patience: Patience = Patience()


class Registries:
    """One piece of work's view of all registries. Raises RegistryError if a file can't be read."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.configuration = load(access.tls_verify)
        self.logins = login_files(access.authfile, os.environ)
        self.transport = Transport(self.configuration, access.patience, access.cert_dir)

    def sources(self, reference: Reference) -> list[Repository]:
        """Where an image may be pulled from, in order. Raises RegistryError."""
        return [self._open(endpoint, "pull") for endpoint in self.configuration.endpoints(reference)]

    def target(self, reference: Reference) -> Repository:
        """Where an image is pushed to. Raises RegistryError."""
        return self._open(self.configuration.endpoints(reference, pulling=False)[-1], "pull,push")

    def at_login(self, host: str, credential: Credential) -> tuple[Repository, Authority]:
        """The registry itself, with credentials that aren't kept yet."""
        endpoint = Endpoint(host, "")
        authority = Authority(self.transport, endpoint, credential, any_realm=True)
        return Repository(self.transport, endpoint, authority), authority

    def _open(self, endpoint: Endpoint, actions: str) -> Repository:
        credential = self._access.credential or self.logins.find(endpoint.host, endpoint.path)
        if endpoint.mirror and self._access.credential is not None:
            credential = self.logins.find(endpoint.host, endpoint.path)  # --creds are for the registry that was named
        return Repository(self.transport, endpoint, Authority(self.transport, endpoint, credential), actions)


def check_host(text: str) -> str:
    """HOST[:PORT] of a registry as people give it. Raises RegistryError."""
    bare = text.removeprefix("https://").removeprefix("http://").removesuffix("/")
    host = bare.partition("/")[0] if bare.startswith(("index.docker.io", "docker.io")) else bare
    if host in ("index.docker.io", "registry-1.docker.io"):
        return "docker.io"
    if not host or "/" in host or "@" in host or not host.isprintable() or " " in host:
        raise RegistryError(f"invalid registry {text!r}: it isn't of the form HOST[:PORT]")
    return host
