"""Authorization for requests to one repository: nothing, a password, or tokens fetched and kept while they last.

Distribution: docs/spec/auth (token, OAuth2). A password goes to the registry itself and to the token server it names
if that is of the same domain or was noted when the user logged in; to no other, and never without TLS beyond this
machine. Challenges of hosts that a redirect led to are not heard at all (CVE-2020-15157).
"""

import base64
import json
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from runtime.image.registry.answer import Answer
from runtime.image.registry.challenge import Challenge, Scope, parse_scopes, union
from runtime.image.registry.configuration import Endpoint
from runtime.image.registry.credentials import Credential
from runtime.image.registry.errors import Denied, Mismatch, Unreachable
from runtime.image.registry.transport import Transport

_LEAST_LIFE_S = 60
_MARGIN_S = 5.0


class _Token(NamedTuple):
    header: str
    until_s: float


class Authority:
    """Who we are to `endpoint`; for several threads at once."""

    def __init__(
        self, transport: Transport, endpoint: Endpoint, credential: Credential | None, *, any_realm: bool = False
    ) -> None:
        self.realm = ""
        """The token server in use, if there is one."""
        self._transport = transport
        self._endpoint = endpoint
        self._credential = credential
        self._any_realm = any_realm
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, str, tuple[Scope, ...]], _Token] = {}

    def header(self, scopes: Iterable[Scope]) -> dict[str, str]:
        """What to send with a request that needs `scopes`. Raises Denied."""
        with self._lock:
            if self._challenge is None:
                return {}
            if self._challenge.scheme == "basic":
                return {"Authorization": self._basic()}
            return {"Authorization": self._token(self._challenge, scopes)}

    def learn(self, challenges: list[Challenge], refused: str) -> bool:
        """Whether the request that was answered with 401 is worth repeating; `refused` is the Authorization it had."""
        with self._lock:
            for scheme in ("bearer", "basic"):
                for challenge in challenges:
                    if challenge.scheme == scheme and self._take(challenge, refused):
                        return True
        return False

    def _take(self, challenge: Challenge, refused: str) -> bool:
        if challenge.scheme == "basic":
            if self._credential is None or self._credential.identity_token or refused.startswith("Basic "):
                return False
        elif not challenge.parameters.get("realm"):
            return False
        self._challenge = challenge
        self._tokens = {key: token for key, token in self._tokens.items() if token.header != refused}
        return True

    def _basic(self) -> str:
        assert self._credential is not None
        pair = f"{self._credential.user}:{self._credential.password}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _token(self, challenge: Challenge, scopes: Iterable[Scope]) -> str:
        realm, service = challenge.parameters["realm"], challenge.parameters.get("service", "")
        wanted = union(scopes, parse_scopes(challenge.parameters.get("scope", "")))
        key = (realm, service, wanted)
        kept = self._tokens.get(key)
        if kept is None or kept.until_s < time.monotonic():
            self._check_realm(realm)
            kept = self._fetch(realm, service, wanted)
            self._tokens[key] = kept
        return kept.header

    def _check_realm(self, realm: str) -> None:
        parts = urlsplit(realm)
        plain_is_right = parts.scheme == "http" and self._transport.may_be_plain(parts.netloc)
        if not parts.hostname or "@" in parts.netloc or not (parts.scheme == "https" or plain_is_right):
            raise Mismatch(f"registry {self._endpoint.host}: its token server {realm!r} has no safe address")
        if parts.scheme == "http" and self._transport.base(self._endpoint).startswith("https:"):
            raise Mismatch(f"registry {self._endpoint.host}: its token server {realm!r} is without TLS")
        self.realm = realm

    def _fetch(self, realm: str, service: str, scopes: tuple[Scope, ...]) -> _Token:
        credential = self._credential
        if credential is not None and not self._may_have_password(realm, credential):
            raise Denied(
                f"registry {self._endpoint.host}: it wants your password sent to {urlsplit(realm).netloc}, which isn't"
                f" known to belong to it: if it does, run 'pyunion login {self._endpoint.host}'"
            )
        if credential is not None and credential.identity_token:
            answer = self._ask_oauth(realm, service, scopes, credential.identity_token)
        else:
            answer = self._ask(realm, service, scopes)
        return self._read_token(realm, answer)

    def _ask(self, realm: str, service: str, scopes: tuple[Scope, ...]) -> Answer:
        query = [("service", service)] if service else []
        query += [("scope", str(scope)) for scope in scopes]
        headers = {}
        if self._credential is not None:
            query.append(("account", self._credential.user))
            headers["Authorization"] = self._basic()
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        return self._transport.send("GET", url, headers)

    def _ask_oauth(self, realm: str, service: str, scopes: tuple[Scope, ...], identity_token: str) -> Answer:
        form = {
            "grant_type": "refresh_token", "service": service, "client_id": "pyunion",
            "scope": " ".join(map(str, scopes)), "refresh_token": identity_token,
        }  # fmt: skip
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._transport.send("POST", realm, headers, urlencode(form).encode(), follow=False)

    def _read_token(self, realm: str, answer: Answer) -> _Token:
        server = urlsplit(realm).netloc
        body = answer.read_all()
        if answer.status in (400, 401, 403):
            raise Denied(self._wrong_password(server))
        if answer.status != 200:
            raise Unreachable(f"token server {server} of registry {self._endpoint.host}: status {answer.status}")
        try:
            value: dict[str, Any] = json.loads(body)
            token = value.get("token") or value.get("access_token")
            life = max(_LEAST_LIFE_S, int(value.get("expires_in") or 0))
        except (ValueError, TypeError, AttributeError):
            token, life = None, 0
        if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
            raise Mismatch(f"token server {server} of registry {self._endpoint.host}: it sent no token")
        return _Token(f"Bearer {token}", time.monotonic() + life - _MARGIN_S)

    def _wrong_password(self, server: str) -> str:
        host = self._endpoint.host
        if self._credential is None:
            return f"registry {host}: its token server {server} wants a login: run 'pyunion login {host}'"
        return f"registry {host}: its token server {server} doesn't accept the login: run 'pyunion login {host}'"

    def _may_have_password(self, realm: str, credential: Credential) -> bool:
        return self._any_realm or credential.realm == realm or _related(urlsplit(realm).netloc, self._endpoint.server)


def _related(realm: str, server: str) -> bool:
    """The same host and port; or names under one domain, as auth.docker.io and registry-1.docker.io are."""
    if realm == server:
        return True
    one, other = (host.partition(":")[0].lower().rstrip(".") for host in (realm, server))
    if any(not host.rpartition(".")[2].isalpha() for host in (one, other)):  # numbers, or no domain at all
        return False
    parent = other.partition(".")[2]
    domains = [other, parent] if "." in parent else [other]
    return any(one == domain or one.endswith(f".{domain}") for domain in domains)
