"""Requests to servers: connections kept, redirects followed, patience with what may pass.

The rules that keep secrets: Authorization goes to the host it was made for and to no other; from https nothing leads
to http, unless the user marked the very host as insecure; http is spoken only to such hosts and to this machine.
"""

import random
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, SSLError

from runtime.image.registry.answer import Answer, reason, retry_after
from runtime.image.registry.configuration import Configuration, Endpoint, is_loopback
from runtime.image.registry.errors import Mismatch, NoConnection, NoTls, RegistryError, Unreachable
from runtime.image.registry.trust import make_context

_OURS_IS_REFUSED = re.compile(r"ALERT_(?:\w*CERTIFICATE\w*|UNKNOWN_CA)")
"""What the other side of TLS says of the certificate that we showed, or didn't."""
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_MOST_REDIRECTS = 5

Body = bytes | Callable[[], Iterable[bytes]]
"""Bytes, or what makes the pieces anew for each attempt; then Content-Length is the caller's to give."""


class Patience(NamedTuple):
    """How often and how long."""

    attempts: int = 5
    first_wait_s: float = 1.0
    most_wait_s: float = 60.0
    stall_s: float = 60.0
    """Without a byte for so long, a connection is given up."""


class Stopped(RegistryError):
    """The work was called off, because another part of it failed."""


class Transport:
    """Connections to all servers of one piece of work; for several threads at once."""

    def __init__(self, configuration: Configuration, patience: Patience, cert_dir: str = "") -> None:
        self.patience = patience
        self.stopped = threading.Event()
        self._configuration = configuration
        self._cert_dir = cert_dir
        self._lock = threading.Lock()
        self._pools_lock = threading.Lock()
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._bases: dict[str, str] = {}
        self._reached: set[str] = set()

    def base(self, endpoint: Endpoint) -> str:
        """`https://SERVER`; `http://SERVER` where that is allowed and the server knows no TLS. Raises RegistryError."""
        with self._lock:
            if endpoint.server not in self._bases:
                self._bases[endpoint.server] = self._find_base(endpoint.server)
            return self._bases[endpoint.server]

    def may_be_plain(self, host: str) -> bool:
        """Whether http may be spoken to HOST[:PORT]."""
        return is_loopback(host) or self._configuration.is_insecure(host)

    def hop(self, url: str, location: str) -> str:
        """Where `location`, found in an answer from `url`, leads. Raises Mismatch if that is less safe."""
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.scheme == "https" and parts.hostname:
            return target
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme != "http" or not parts.hostname:
            raise Mismatch(f"{urlsplit(url).netloc}: it leads to {target[:200]!r}, which is no address of http")
        allowed = self._configuration.is_insecure(host) if url.startswith("https:") else self.may_be_plain(host)
        if not allowed:
            raise Mismatch(
                f"{urlsplit(url).netloc}: it leads to {host} without TLS, which is refused"
                f" (mark {host} as insecure in registries.conf if you trust the way there)"
            )
        return target

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None,
        *, follow: bool = True, persist: bool = True,
    ) -> Answer:
        """One request; repeated, if `persist`, while what hinders it may pass. Raises Unreachable, Mismatch."""
        host = urlsplit(url).netloc
        for attempt in range(1, self.patience.attempts + 1):
            last = attempt == self.patience.attempts or not persist
            try:
                answer = self._follow(method, url, headers, body, follow)
            except Unreachable as error:
                if last or (isinstance(error, NoConnection) and host not in self._reached):
                    raise
                self.pause(attempt, str(error))
                continue
            self._reached.add(host)
            if answer.status not in _PASSING or last:
                return answer
            wait = retry_after(answer)
            answer.close()
            self.pause(attempt, f"{host}: status {answer.status}", wait)
        raise AssertionError("the last attempt returns or raises")

    def pause(self, attempt: int, why: str, wanted_s: float | None = None) -> None:
        """Wait after the `attempt`-th failure, doubling. Raises Stopped; Unreachable if it is to be too long."""
        wait = self.patience.first_wait_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        if wanted_s is not None:
            if wanted_s > self.patience.most_wait_s:
                raise Unreachable(f"{why}: it wants us to come back in {wanted_s:.0f} seconds")
            wait = max(wait, wanted_s)
        if self.stopped.wait(min(wait, self.patience.most_wait_s)):
            raise Stopped("the work was called off")

    def check_stopped(self) -> None:
        """Raises Stopped if the work was called off."""
        if self.stopped.is_set():
            raise Stopped("the work was called off")

    def _follow(self, method: str, url: str, headers: Mapping[str, str], body: Body | None, follow: bool) -> Answer:
        asked, sent = url, dict(headers)
        for _ in range(_MOST_REDIRECTS):
            foreign = _origin(url) != _origin(asked)
            answer = Answer(self._once(method, url, sent, body), url, foreign)
            if not follow or answer.status not in _REDIRECTS or not answer.header("Location"):
                return answer
            if method not in ("GET", "HEAD") and answer.status not in (307, 308):
                return answer
            url = self.hop(url, answer.header("Location"))
            answer.close()
            if _origin(url) != _origin(asked):
                sent = {name: value for name, value in sent.items() if name.lower() not in ("authorization", "cookie")}
        raise Mismatch(f"{urlsplit(asked).netloc}: it redirects in a circle")

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> urllib3.BaseHTTPResponse:
        self.check_stopped()
        timeout = urllib3.Timeout(connect=min(30.0, self.patience.stall_s), read=self.patience.stall_s)
        try:
            return self._pool(url).urlopen(
                method, url, body=body() if callable(body) else body,
                headers={"User-Agent": "pyunion", **headers},
                redirect=False, retries=False, preload_content=False, decode_content=False, timeout=timeout,
            )
        except (HTTPError, OSError) as error:
            raise self._unreachable(urlsplit(url).netloc, error) from None

    def _unreachable(self, host: str, error: Exception) -> RegistryError:
        text = reason(error)
        if _OURS_IS_REFUSED.search(str(error)):
            return Mismatch(
                f"{host}: it asks for a certificate of ours, and takes none it hasn't signed: put one and its key"
                f" into /etc/containers/certs.d/{host}/client.cert and client.key"
            )
        if isinstance(error, SSLError):
            if "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate" in text:
                return Mismatch(
                    f"{host}: its certificate can't be verified ({text}): put its authority's into"
                    f" /etc/containers/certs.d/{host}/ca.crt, or give --tls-verify=false if you trust the way there"
                )
            return NoTls(
                f"{host}: no TLS ({text}): if it speaks plain HTTP and you trust the way there,"
                " give --tls-verify=false or mark it as insecure in registries.conf"
            )
        if isinstance(error, NewConnectionError | ProxyError):
            return NoConnection(f"{host}: {text}")
        return Unreachable(f"{host}: {text}")

    def _find_base(self, server: str) -> str:
        if not self.may_be_plain(server):
            return f"https://{server}"
        try:
            self._once("GET", f"https://{server}/v2/", {}, None).close()
        except NoTls:
            return f"http://{server}"
        except NoConnection:
            raise
        except Unreachable:  # plain servers hang up, too, on what they don't understand
            return f"http://{server}"
        return f"https://{server}"

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        with self._pools_lock:
            if key not in self._pools:
                self._pools[key] = self._make_pool(parts.scheme, parts.netloc)
            return self._pools[key]

    def _make_pool(self, scheme: str, host: str) -> urllib3.PoolManager:
        from urllib.request import getproxies, proxy_bypass

        insecure = self._configuration.is_insecure(host)
        context = make_context(host, insecure, self._cert_dir) if scheme == "https" else None
        if insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        proxies = getproxies()
        proxy = proxies.get(scheme) or proxies.get("all")
        if proxy and not is_loopback(host) and not proxy_bypass(host):
            return urllib3.ProxyManager(proxy, maxsize=8, ssl_context=context)
        return urllib3.PoolManager(maxsize=8, ssl_context=context)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
