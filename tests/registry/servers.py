"""Debian's docker-registry on loopback, as plain as it comes or with TLS and a password."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support import needs

_DEADLINE_S = 30
USER, PASSWORD = "alice", "a password: with a colon"


class Server(NamedTuple):
    """A registry that runs."""

    host: str
    """HOST:PORT, as in names of images."""
    certificates: Path | None
    """A --cert-dir, if it speaks TLS."""
    log: Path


@contextlib.contextmanager
def registry(folder: Path, secure: bool = False) -> Iterator[Server]:
    """Run one that keeps everything in `folder`."""
    needs.commands("docker-registry", *(["openssl", "perl"] if secure else []))
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    more = _security(folder) if secure else ""
    configuration = folder / "config.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{accesslog: {{disabled: false}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
        f"http:\n  addr: {host}\n{more}"
    )
    log = folder / "log"
    with open(log, "wb") as file:
        program = shutil.which("docker-registry", path=needs.search_path())
        process = subprocess.Popen([str(program), "serve", str(configuration)], stdout=file, stderr=file)
        try:
            _wait_until_it_listens(process, host, log)
            yield Server(host, folder / "certificates" if secure else None, log)
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _security(folder: Path) -> str:
    """Make a certificate and a password file; the lines of the configuration that use them."""
    certificates = folder / "certificates"
    certificates.mkdir()
    authority = certificates / "ca.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "key", "-out", authority],
        check=True, capture_output=True,
    )  # fmt: skip
    script = "print crypt($ARGV[0], '$2y$05$abcdefghijklmnopqrstuu')"  # bcrypt, the only one it takes
    hashed = subprocess.run(["perl", "-e", script, PASSWORD], check=True, capture_output=True, text=True).stdout
    (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
    return (
        f"  tls: {{certificate: {authority}, key: {folder}/key}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    )


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", host: str, log: Path) -> None:
    address, _, port = host.partition(":")
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, int(port)), timeout=1):
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(f"docker-registry doesn't listen after {_DEADLINE_S} s: {log.read_text()}")
