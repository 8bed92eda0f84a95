"""A registry that knows its users by certificates: those of certs.d are shown to it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.client import Client
from tests.registry.misbehaving import Misbehaving, running
from tests.registry.servers import Server
from tests.support import needs

pytestmark = needs.root


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with me.cert and me.key."""
    needs.commands("openssl")
    folder = tmp_path_factory.mktemp("identity")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", "/CN=me", "-keyout", f"{folder}/me.key", "-out", f"{folder}/me.cert"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def server(secure: Server, identity: Path) -> Iterator[Misbehaving]:
    """It speaks with nobody but who has that certificate."""
    folder = secure.log.parent
    with running(
        lambda server: server.secure(folder / "certificates/ca.crt", folder / "key", users=identity / "me.cert")
    ) as server:
        yield server


def give(client: Client, host: str, *files: Path) -> Path:
    """Put files where Podman has them for a registry."""
    folder = client.home / ".config/containers/certs.d" / host
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)
    return folder


def test_the_certificate_of_certs_d_is_shown(
    client: Client, server: Misbehaving, secure: Server, identity: Path
) -> None:
    assert secure.certificates is not None
    give(client, server.host, secure.certificates / "ca.crt", identity / "me.cert", identity / "me.key")
    client.succeeds("pull", f"{server.host}/t/image:1")


def test_without_one_the_registry_refuses(client: Client, server: Misbehaving, secure: Server) -> None:
    assert secure.certificates is not None
    give(client, server.host, secure.certificates / "ca.crt")
    client.fails("pull", f"{server.host}/t/image:1")
    assert server.requests == []


def test_a_certificate_without_its_key_is_named(
    client: Client, server: Misbehaving, secure: Server, identity: Path
) -> None:
    assert secure.certificates is not None
    folder = give(client, server.host, secure.certificates / "ca.crt", identity / "me.cert")
    said = client.fails("pull", f"{server.host}/t/image:1")
    assert f"certificates in {folder}: there is a me.cert, but no me.key" in said
    assert server.requests == []


def test_a_folder_of_certificates_that_is_not_there_is_named(client: Client, server: Misbehaving) -> None:
    nowhere = os.path.join(client.folder, "nowhere")
    said = client.fails("pull", "--cert-dir", nowhere, f"{server.host}/t/image:1")
    assert f"certificates in {nowhere}: there is no such directory" in said
