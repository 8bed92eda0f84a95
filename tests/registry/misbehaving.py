"""A registry on loopback that does as it is told: cuts connections, lies, redirects, stalls, refuses.

It keeps one image, made here, and a list of rules. The first rule that fits a request answers it, as often as it is
meant to; what no rule wants is answered as a registry should.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

OCI = "application/vnd.oci.image"
LAYER_BYTES = 300_000
NAME = "t/image"


class Request(NamedTuple):
    """One that came."""

    method: str
    path: str
    headers: dict[str, str]


class Rule(NamedTuple):
    """`act` answers requests of `method` whose path `pattern` finds, `times` times."""

    method: str
    pattern: str
    act: "Callable[[Handler], None]"
    left: list[int]


class Handler(BaseHTTPRequestHandler):
    """One request. What rules call is public."""

    protocol_version = "HTTP/1.1"
    server: "Misbehaving"

    def do_any(self) -> None:
        self.server.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        for rule in self.server.rules:
            if rule.left[0] and rule.method == self.command and re.search(rule.pattern, self.path):
                rule.left[0] -= 1
                rule.act(self)
                return
        self.behave()

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_any  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        """A whole response."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        """What came with the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def error(self, status: int, code: str, **headers: str) -> None:
        """As the specification has errors."""
        self.answer(status, json.dumps({"errors": [{"code": code, "message": "so it is"}]}).encode(), **headers)

    def behave(self) -> None:
        """As a registry should."""
        path = urlsplit(self.path).path
        if path == "/v2/":
            self.answer(200, b"{}")
        elif "/uploads/" in path:
            self._upload(path)
        elif self.command == "PUT":
            self.server.put[path] = self.body()
            self.answer(201)
        elif path in self.server.contents:
            self.send_content(*self.server.contents[path])
        else:
            self.error(404, "MANIFEST_UNKNOWN")

    def send_content(self, media_type: str, data: bytes) -> None:
        """`data`, from where it was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None:
            self.answer(200, data, Content_Type=media_type)
        elif int(asked[1]) >= len(data):
            self.answer(416)
        else:
            start = int(asked[1])
            place = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.answer(206, data[start:], Content_Type=media_type, Content_Range=place)

    def cut(self, after: int) -> None:
        """Send the content as one should, but only `after` bytes of it."""
        media_type, data = self.server.contents[self.path]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", media_type)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + after])
        self.close_connection = True

    def _upload(self, path: str) -> None:
        """One upload at a time is kept for each number in the path."""
        uploads = self.server.uploads
        number = path.rpartition("/")[2]
        if self.command == "POST":
            number = str(len(uploads) + 1)
            uploads[number] = b""
            self.answer(202, b"", Location=self.server.location(number), **self.server.upload_headers)
        elif number not in uploads:
            self.body()
            self.error(404, "BLOB_UPLOAD_UNKNOWN")
        elif self.command == "PATCH":
            uploads[number] += self.body()
            self.answer(202, Location=self.server.location(number))
        elif self.command == "GET":
            end = max(0, len(uploads[number]) - 1)
            self.answer(204, Location=self.server.location(number), Range=f"0-{end}")
        else:
            self._finish(uploads[number] + self.body())

    def _finish(self, data: bytes) -> None:
        digest = parse_qs(urlsplit(self.path).query)["digest"][0]
        if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
            self.error(400, "DIGEST_INVALID")
            return
        self.server.contents[f"/v2/{NAME}/blobs/{digest}"] = ("application/octet-stream", data)
        self.answer(201)


class Misbehaving(ThreadingHTTPServer):
    """The server; use it as running() gives it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self.contents: dict[str, tuple[str, bytes]] = {}
        self.put: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.upload_headers: dict[str, str] = {}
        self.location: Callable[[str], str] = lambda number: f"/v2/{NAME}/blobs/uploads/{number}?state=x%2Fy"
        self.ending = threading.Event()
        self.layers: list[str] = []
        self.manifest: dict[str, Any] = {}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of it."""

    def when(self, method: str, pattern: str, act: Callable[[Handler], None], times: int = -1) -> None:
        """Add a rule."""
        self.rules.append(Rule(method, pattern, act, [times]))

    def add(self, kind: str, data: bytes) -> dict[str, Any]:
        """Keep a blob; its descriptor."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.contents[f"/v2/{NAME}/blobs/{digest}"] = ("application/octet-stream", data)
        return {"mediaType": f"{OCI}.{kind}", "digest": digest, "size": len(data)}

    def set_manifest(self, manifest: dict[str, Any], tag: str = "1", media_type: str = "") -> str:
        """Keep a manifest under a tag and its digest, which is returned."""
        data = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        kind = media_type or manifest.get("mediaType", f"{OCI}.manifest.v1+json")
        for wanted in (tag, digest):
            self.contents[f"/v2/{NAME}/manifests/{wanted}"] = (kind, data)
        return digest

    def add_image(self, layers: int = 2) -> None:
        """An image of random files, one a layer, as t/image:1."""
        tars = [_tar(f"file{number}", os.urandom(LAYER_BYTES)) for number in range(layers)]
        diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in tars]
        found = [self.add("layer.v1.tar+gzip", gzip.compress(data, 1)) for data in tars]
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        self.layers = [str(layer["digest"]) for layer in found]
        described = self.add("config.v1+json", json.dumps(config).encode())
        kind = f"{OCI}.manifest.v1+json"
        self.manifest = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": found}
        self.set_manifest(self.manifest)

    def asked(self, pattern: str, method: str = "GET") -> list[Request]:
        """The requests of a method whose path `pattern` finds."""
        return [request for request in self.requests if request.method == method and re.search(pattern, request.path)]

    def secure(self, certificate: Path, key: Path, users: Path | None = None) -> None:
        """Speak TLS; with `users`, only with who has one of these certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if users is not None:
            context.load_verify_locations(users)
            context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


def _tar(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


@contextlib.contextmanager
def running(prepare: Callable[[Misbehaving], None] | None = None) -> Iterator[Misbehaving]:
    """A server at work, with the image t/image:1."""
    with Misbehaving() as server:
        server.add_image()
        if prepare:
            prepare(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()
