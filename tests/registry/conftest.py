"""Registries on loopback, images of the real tools in them, and users of the `pyunion` command."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.registry import images, servers
from tests.registry.client import Client
from tests.registry.servers import Server
from tests.support import needs


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout of real images; see images.make_layout(). No test may change it."""
    needs.superuser()
    return images.make_layout(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[Server]:
    """A registry without TLS; t/many, t/zstd, t/docker and t/multi are in it, each with the tag 1."""
    folder = tmp_path_factory.mktemp("plain")
    with servers.registry(folder) as server:
        images.publish(layout, server.host, "t/many:1", "many")
        images.publish(layout, server.host, "t/docker:1", "many", "--format", "v2s2")
        images.publish(layout.parent / "zstd", server.host, "t/zstd:1", "zstd")
        images.publish_index(folder, layout, server.host, "t/multi:1")
        yield server


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[Server]:
    """A registry with TLS and a password; t/many:1 is in it."""
    with servers.registry(tmp_path_factory.mktemp("secure"), secure=True) as server:
        login = f"--dest-creds={servers.USER}:{servers.PASSWORD}"
        images.publish(layout, server.host, "t/many:1", "many", login)
        yield server


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A user who has no image yet."""
    needs.superuser()
    return Client(tmp_path)


@pytest.fixture
def another_client(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Client]:
    """Make more users."""
    return lambda: Client(tmp_path_factory.mktemp("client"))


@pytest.fixture
def podman() -> Iterator[list[str]]:
    """The beginning of command lines of a podman with a storage of its own."""
    yield from images.podman(Path(tempfile.mkdtemp(prefix="p", dir="/var/tmp")))  # it takes 50 characters at most
