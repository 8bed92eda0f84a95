"""Login files: our own, Podman's auth.json and Docker's config.json, which are of one format.

    {"auths": {"HOST[/PATH]": {"auth": base64("USER:PASSWORD"), "identitytoken": …}},
     "credHelpers": {"HOST": NAME}, "credsStore": NAME}

Ours has one more key, `realm`: the token server that the user's password was sent to when it was accepted.
"""

import base64
import binascii
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from runtime.image.reference import DEFAULT_DOMAIN
from runtime.image.registry import helper
from runtime.image.registry.errors import RegistryError

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_MOST_FILE_BYTES = 4 << 20


class Credential(NamedTuple):
    """Who we are at one registry: a user with a password, or an identity token."""

    user: str
    password: str = ""
    identity_token: str = ""
    realm: str = ""
    """Where the password may go besides the registry itself; empty if the login didn't note it."""


class LoginFiles:
    """The files to look in, the first that knows a registry counts; the first is the one that is written."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def find(self, host: str, path: str = "") -> Credential | None:
        """For a repository, the most specific entry of the first file that has one. Raises RegistryError."""
        for name in self.paths:
            found = _find(_read(name), host, path)
            if found is not None:
                return found
        return None

    def add(self, host: str, credential: Credential) -> str:
        """Keep a login; what it is kept in, for people. Raises RegistryError."""
        target = self.paths[0]
        with _changing(target) as content:
            program = _helper_of(content, host)
            if program:
                user = helper.TOKEN_USER if credential.identity_token else credential.user
                helper.store(program, _server(host), user, credential.identity_token or credential.password)
                _table(content, "auths").setdefault(_server(host), {})
                return f"docker-credential-{program}"
            _drop(content, host)
            _table(content, "auths")[_server(host)] = _entry(credential)
        return target

    def remove(self, host: str) -> bool:
        """Forget the login at a registry in our own file; whether there was one. Raises RegistryError."""
        if not os.path.exists(self.paths[0]):
            return False
        with _changing(self.paths[0]) as content:
            program = _helper_of(content, host)
            known = _find(content, host, "") is not None
            if program and known:
                helper.erase(program, _server(host))
            return bool(_drop(content, host)) or known

    def hosts(self) -> list[str]:
        """Every registry that our own file names."""
        content = _read(self.paths[0])
        return sorted({_host_of(key) for table in ("auths", "credHelpers") for key in _table(content, table)})


def login_files(authfile: str = "", environ: Mapping[str, str] = os.environ) -> LoginFiles:
    """Where logins are: `authfile` or REGISTRY_AUTH_FILE alone; else ours, then Podman's, then Docker's."""
    alone = authfile or environ.get("REGISTRY_AUTH_FILE", "")
    if alone:
        return LoginFiles([alone])
    home = environ.get("HOME") or os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    run = environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}"
    podman = f"{run}/containers/auth.json" if environ.get("XDG_RUNTIME_DIR") else f"{run}/auth.json"
    docker = environ.get("DOCKER_CONFIG") or f"{home}/.docker"
    return LoginFiles(
        [f"{config}/pyunion/auth.json", podman, f"{config}/containers/auth.json", f"{docker}/config.json"]
    )


def _find(content: dict[str, Any], host: str, path: str) -> Credential | None:
    entries = {_normal(key): value for key, value in _table(content, "auths").items()}
    host = _host_of(host)
    program = _helper_of(content, host)
    words = [host, *filter(None, path.split("/"))]
    for length in range(len(words), 0, -1):
        key = "/".join(words[:length])
        if length == 1 and program:
            found = _ask(program, host)
            if found is not None:
                return found
        found = _credential(entries.get(key), key)
        if found is not None:
            return found
    return None


def _ask(program: str, host: str) -> Credential | None:
    answer = helper.get(program, _server(host))
    if answer is None:
        return None
    user, secret = answer
    return Credential("", "", secret) if user == helper.TOKEN_USER else Credential(user, secret)


def _credential(entry: object, key: str) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    user, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise RegistryError(f"the login file's entry for {key} is damaged: log in again") from None
    token = str(entry.get("identitytoken", ""))
    if not (user or token):
        return None
    return Credential(user, password.rstrip("\0"), token, str(entry.get("realm", "")))


def _entry(credential: Credential) -> dict[str, str]:
    entry = {"auth": base64.b64encode(f"{credential.user}:{credential.password}".encode()).decode()}
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token
    if credential.realm:
        entry["realm"] = credential.realm
    return entry


def _helper_of(content: dict[str, Any], host: str) -> str:
    for key, name in _table(content, "credHelpers").items():
        if _host_of(key) == _host_of(host):
            return str(name)
    return str(content.get("credsStore") or "")


def _drop(content: dict[str, Any], host: str) -> list[str]:
    table = _table(content, "auths")
    dropped = [key for key in table if _normal(key) == _host_of(host)]
    for key in dropped:
        del table[key]
    return dropped


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    table = content.setdefault(name, {})
    if not isinstance(table, dict):
        raise RegistryError(f"a login file's {name!r} is not an object")
    return table


def _normal(key: str) -> str:
    """A key as HOST[/PATH]: Docker writes URLs, whose path says nothing."""
    bare = key.removeprefix("https://").removeprefix("http://")
    return _host_of(key) if bare != key else "/".join([_host_of(key), *bare.split("/")[1:]]).rstrip("/")


def _host_of(key: str) -> str:
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DEFAULT_DOMAIN if host in _HUB_HOSTS else host


def _server(host: str) -> str:
    return _HUB_KEY if _host_of(host) == DEFAULT_DOMAIN else host


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MOST_FILE_BYTES) or b"{}")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except OSError as error:
        raise RegistryError(f"login file {path}: {error.strerror}") from None
    except ValueError as error:
        raise RegistryError(f"login file {path}: it isn't JSON: {error}") from None
    if not isinstance(content, dict):
        raise RegistryError(f"login file {path}: it isn't a JSON object")
    return content


@contextlib.contextmanager
def _changing(path: str) -> Iterator[dict[str, Any]]:
    """The content of a login file, written back whole for its owner alone when the block ends well."""
    content = _read(path)
    yield content
    folder = os.path.dirname(os.path.abspath(path))
    temporary = ""
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        fd, temporary = tempfile.mkstemp(dir=folder, prefix=".auth-")
        with os.fdopen(fd, "w") as file:
            json.dump({key: value for key, value in content.items() if value != {}}, file, indent=4)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise RegistryError(f"login file {path}: {error.strerror}") from None
