"""What lies between us and a registry, and below the store: proxies, servers without TLS, full disks."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.client import Client
from tests.registry.images import tool
from tests.registry.misbehaving import running
from tests.registry.servers import PASSWORD, USER, Server
from tests.support import needs

pytestmark = needs.root

ELSEWHERE = "registry.example:5443"
"""A name that nobody here can look up: whoever gets there went through the proxy."""


class Proxy:
    """Leads every CONNECT to one address."""

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connects: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(4096)
                self.connects.append(head.split(b"\r\n")[0].decode())
                server = socket.create_connection(self._target)
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(secure: Server) -> Iterator[Proxy]:
    """A proxy behind which the secure registry is."""
    made = Proxy(secure.host)
    yield made
    made.close()


def test_a_proxy_is_used(client: Client, proxy: Proxy) -> None:
    options = ("--tls-verify=false", f"--creds={USER}:{PASSWORD}")
    done = client("pull", *options, f"{ELSEWHERE}/t/many:1", environ={"HTTPS_PROXY": proxy.address})
    assert done.returncode == 0, done.stderr
    assert {line.rpartition(" ")[0] for line in proxy.connects} == {f"CONNECT {ELSEWHERE}"}


def test_no_proxy_is_heeded(client: Client, proxy: Proxy) -> None:
    environ = {"HTTPS_PROXY": proxy.address, "NO_PROXY": "registry.example"}
    assert ELSEWHERE in client.fails("pull", f"{ELSEWHERE}/t/many:1", environ=environ)
    assert proxy.connects == []


def test_this_machine_is_reached_without_the_proxy(client: Client, plain: Server, proxy: Proxy) -> None:
    environ = {"HTTPS_PROXY": proxy.address, "HTTP_PROXY": proxy.address}
    assert client("pull", f"{plain.host}/t/many:1", environ=environ).returncode == 0
    assert proxy.connects == []


def test_attack_14_a_server_without_tls_gets_no_request(client: Client) -> None:
    with running() as server:
        proxy = Proxy(server.host)
        arguments = (f"--creds={USER}:{PASSWORD}", f"{ELSEWHERE}/t/image:1")
        said = client.fails("pull", *arguments, environ={"HTTPS_PROXY": proxy.address, "HTTP_PROXY": proxy.address})
        proxy.close()
        assert proxy.connects
        assert server.requests == []
        assert f"{ELSEWHERE}: no TLS" in said
        assert "--tls-verify=false" in said


def test_a_full_disk_is_said_and_leaves_the_store_as_it_was(client: Client) -> None:
    tool("mount", "-t", "tmpfs", "-o", "size=400k", "none", client.places.root)
    try:
        client.store.prepare()
        with running() as server:
            said = client.fails("pull", f"{server.host}/t/image:1")
            assert f"{server.host}/t/image:1: " in said
            assert "No space left on device" in said
            assert client.store.images() == []
            tool("mount", "-o", "remount,size=8m", client.places.root)
            client.succeeds("pull", f"{server.host}/t/image:1")
            assert client.files(client.store.images()[0]) == {"file0", "file1"}
    finally:
        tool("umount", client.places.root)


def test_a_login_needs_something_to_ask(client: Client) -> None:
    done = client("login", "registry.example")
    assert done.returncode == 125
    assert "--password-stdin" in done.stderr
    assert "no colon" in client("login", "-u", "a:b", "-p", "c", "registry.example").stderr


@pytest.mark.parametrize("name", ["user@registry.example", "a/b", "a b", "https://"])
def test_what_is_no_registry(client: Client, name: str) -> None:
    assert "invalid registry" in client.fails("login", "-u", "a", "-p", "b", name)
    assert not Path(client.home, ".config").exists()


def test_running_an_image_that_is_here_needs_no_client(client: Client, plain: Server) -> None:
    needs.fuse_device()
    client.succeeds("pull", f"{plain.host}/t/many:1")
    (client.folder / "urllib3.py").write_text("raise SystemExit('imported')\n")
    done = client("run", "--rm", f"{plain.host}/t/many:1", "true", environ={"PYTHONPATH": str(client.folder)})
    assert (done.returncode, done.stderr) == (0, "")
    assert "imported" in client("pull", f"{plain.host}/t/many:1", environ={"PYTHONPATH": str(client.folder)}).stderr
