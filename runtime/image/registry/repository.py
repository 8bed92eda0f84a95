"""One repository at one address: its manifests, blobs and uploads. OCI distribution-spec 1.1, "API"."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlencode

from runtime.errors import one_line
from runtime.image.digest import Digest, of, verify
from runtime.image.errors import Corrupt
from runtime.image.media import INDEXES, MANIFESTS, MOST_DOCUMENT_BYTES, Descriptor
from runtime.image.registry.answer import Answer
from runtime.image.registry.authority import Authority
from runtime.image.registry.challenge import Scope, parse_challenges, repository_scope
from runtime.image.registry.configuration import Endpoint
from runtime.image.registry.errors import Absent, Denied, Mismatch, RegistryError, Unreachable
from runtime.image.registry.transport import Body, Transport

ACCEPT = ", ".join((*MANIFESTS, *INDEXES))
_MOST_SAID = 200
_FEWEST_CHUNK_BYTES = 16 << 20
_ROUNDS = 3


class Document(NamedTuple):
    """A manifest or index as it came, verified where a digest was known before."""

    data: bytes
    media_type: str
    digest: Digest


class Upload(NamedTuple):
    """A blob's upload that was begun."""

    url: str
    chunk_bytes: int
    """How large its pieces have to be at least, but the last."""


class Repository:
    """For several threads at once. All methods raise RegistryError's kinds."""

    def __init__(self, transport: Transport, endpoint: Endpoint, authority: Authority, actions: str = "pull") -> None:
        self.transport = transport
        self.endpoint = endpoint
        self._authority = authority
        self._scopes = [repository_scope(endpoint.path, *actions.split(","))]

    def ping(self) -> None:
        """Ask whether this is a registry that lets us in."""
        base = self.transport.base(self.endpoint)
        answer = self._call("GET", f"{base}/v2/", scopes=[])
        if answer.status == 404:
            answer.close()
            raise RegistryError(f"{self.endpoint.host}: it isn't a registry (it has no /v2/)")
        self._expect(answer, "log in", 200)
        answer.close()

    def manifest(self, wanted: str, expected: Digest | None = None, size: int | None = None) -> Document:
        """The manifest or index of a tag or digest; size, then digest, checked before anybody reads it."""
        answer = self._call("GET", self._url("manifests", wanted), {"Accept": ACCEPT})
        self._expect(answer, f"manifest {wanted}", 200)
        data = answer.read_all(MOST_DOCUMENT_BYTES)
        media_type = answer.header("Content-Type")
        if expected is None:
            return Document(data, media_type, of(data))
        try:
            verify(data, expected, size)
        except Corrupt as error:
            raise Mismatch(f"registry {self.endpoint.host}: manifest {wanted}: {error}") from None
        return Document(data, media_type, expected)

    def blob(self, digest: Digest, offset: int = 0) -> Answer:
        """A blob from `offset` on: status 206, or 200 and all of it if the server has no ranges, or 416."""
        headers = {"Accept": "*/*", **({"Range": f"bytes={offset}-"} if offset else {})}
        answer = self._call("GET", self._url("blobs", str(digest)), headers)
        return self._expect(answer, f"blob {digest}", 200, 206, 416)

    def has_blob(self, digest: Digest) -> bool:
        answer = self._call("HEAD", self._url("blobs", str(digest)))
        answer.close()
        if answer.status not in (200, 404):
            self._refuse(answer, f"blob {digest}", b"")
        return answer.status == 200

    def start_upload(self, digest: Digest, mount_from: str = "") -> Upload | None:
        """Begin a blob; None if the registry took it over from the repository `mount_from` of its own."""
        query = urlencode({"mount": str(digest), "from": mount_from}) if mount_from else ""
        scopes = [*self._scopes, repository_scope(mount_from, "pull")] if mount_from else self._scopes
        url = f"{self._url('blobs', 'uploads/')}{'?' if query else ''}{query}"
        answer = self._call("POST", url, {"Content-Length": "0"}, scopes=scopes)
        self._expect(answer, f"upload of {digest}", 201, 202)
        answer.close()
        if answer.status == 201:
            return None
        least = answer.header("OCI-Chunk-Min-Length")
        return Upload(self.next_url(answer), max(_FEWEST_CHUNK_BYTES, int(least) if least.isdecimal() else 0))

    def upload_call(self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None) -> Answer:
        """One request of an upload, to a URL that the registry gave; not repeated."""
        return self._call(method, url, headers, body, persist=False)

    def next_url(self, answer: Answer) -> str:
        """Where an upload goes on. The address is the registry's, used as it came."""
        location = answer.header("Location")
        if not location:
            raise Mismatch(f"registry {self.endpoint.host}: it doesn't say where the upload goes on")
        return self.transport.hop(answer.url, location)

    def put_manifest(self, wanted: str, descriptor: Descriptor, data: bytes) -> None:
        headers = {"Content-Type": descriptor.media_type, "Content-Length": str(len(data))}
        answer = self._call("PUT", self._url("manifests", wanted), headers, data)
        self._expect(answer, f"manifest {wanted}", 201, 200, 202)
        answer.close()

    def refuse(self, answer: Answer, what: str) -> NoReturn:
        """Raise what an answer that wasn't hoped for means."""
        self._refuse(answer, what, answer.read_all())

    def _url(self, kind: str, name: str) -> str:
        return f"{self.transport.base(self.endpoint)}/v2/{self.endpoint.path}/{kind}/{name}"

    def _call(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body | None = None,
        *, scopes: list[Scope] | None = None, persist: bool = True,
    ) -> Answer:
        """One request, authorized; a 401 is answered, but not for ever."""
        scopes = self._scopes if scopes is None else scopes
        for _ in range(_ROUNDS):
            ours = self._authority.header(scopes) if self._is_ours(url) else {}
            answer = self.transport.send(method, url, {**(headers or {}), **ours}, body, persist=persist)
            if answer.status != 401 or answer.foreign or not self._is_ours(url):
                return answer
            challenges = parse_challenges(answer.headers("WWW-Authenticate"))
            if not self._authority.learn(challenges, ours.get("Authorization", "")):
                return answer
            answer.close()
        return answer

    def _is_ours(self, url: str) -> bool:
        """An upload may lead elsewhere; what is there doesn't learn who we are."""
        return url.startswith(f"{self.transport.base(self.endpoint)}/")

    def _expect(self, answer: Answer, what: str, *statuses: int) -> Answer:
        if answer.status not in statuses:
            self._refuse(answer, what, answer.read_all())
        return answer

    def _refuse(self, answer: Answer, what: str, body: bytes) -> NoReturn:
        host = self.endpoint.host
        head = f"registry {host}: {self.endpoint.path}: {what}"
        said = _said(body)
        if answer.foreign:
            raise Unreachable(f"{head}: the server it is kept on answered with status {answer.status}")
        if answer.status == 401:
            raise Denied(f"{head}: a login is needed, or it isn't there{said}: run 'pyunion login {host}'")
        if answer.status == 403:
            raise Denied(f"{head}: access denied{said}: is the name right, and does your login allow it?")
        if answer.status == 404:
            raise Absent(f"{head}: there is no such thing{said}")
        if answer.status == 429:
            raise Unreachable(f"{head}: too many requests{said}: come back later, or log in for a higher limit")
        if answer.status >= 500:
            raise Unreachable(f"{head}: the registry is in trouble, status {answer.status}{said}")
        raise RegistryError(f"{head}: refused with status {answer.status}{said}")


def _said(body: bytes) -> str:
    """The server's own words, short and of one line."""
    try:
        value: Any = json.loads(body)
        first = value["errors"][0]
        text = f"{first.get('code', '')}: {first.get('message', '')}".strip(": ")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""
    return f" ({one_line(text)[:_MOST_SAID]})" if text else ""
