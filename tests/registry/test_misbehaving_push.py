"""Pushing to a registry that misbehaves: a retry or one clear line, and never a manifest before its blobs."""

import hashlib
import json
import os
from collections.abc import Iterator

import pytest

from runtime.image.media import describe_document, to_bytes
from runtime.image.reference import parse_reference
from tests.registry.client import Client
from tests.registry.misbehaving import NAME, Handler, Misbehaving, running
from tests.support import needs

pytestmark = needs.root

UPLOADS = "/blobs/uploads/"
MIB = 1 << 20


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    """A registry that has nothing."""
    with running(lambda server: server.contents.clear()) as misbehaving:
        yield misbehaving


def image(client: Client, server: Misbehaving, size: int = 1000) -> list[str]:
    """Have an image of one layer of `size` random bytes; the digests of its layer and its configuration.

    Nobody unpacks it, so the layer need not be an archive.
    """
    layer, diff_id = os.urandom(size), f"sha256:{'0' * 64}"
    config = to_bytes({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    digests = [client.store.put_bytes(layer), client.store.put_bytes(config)]
    oci = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2, "mediaType": f"{oci}.manifest.v1+json",
        "config": {"mediaType": f"{oci}.config.v1+json", "digest": str(digests[1]), "size": len(config)},
        "layers": [{"mediaType": f"{oci}.layer.v1.tar", "digest": str(digests[0]), "size": size}],
    }  # fmt: skip
    data = to_bytes(manifest)
    client.store.put_bytes(data)
    reference = parse_reference(f"{server.host}/{NAME}:1")
    client.store.put_image(reference, describe_document(f"{oci}.manifest.v1+json", data))
    return [str(digest) for digest in digests]


def pushed(client: Client, server: Misbehaving, *options: str) -> str:
    """A push that must end well: all is there, and the manifest came last."""
    said = client.succeeds("push", *options, f"{server.host}/{NAME}:1")
    manifest = json.loads(server.put[f"/v2/{NAME}/manifests/1"])
    for blob in (manifest["config"], *manifest["layers"]):
        _, data = server.contents[f"/v2/{NAME}/blobs/{blob['digest']}"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == blob["digest"]
    assert [request.method for request in server.requests].index("PUT") > 0
    assert "/manifests/" in server.requests[-1].path
    return said


def refused(client: Client, server: Misbehaving, *options: str) -> str:
    said = client.fails("push", *options, f"{server.host}/{NAME}:1")
    assert server.host in said
    assert server.put == {}
    return said


@pytest.mark.parametrize("absolute", [False, True])
def test_locations_are_used_as_they_come(client: Client, server: Misbehaving, absolute: bool) -> None:
    head = f"http://{server.host}" if absolute else ""
    server.location = lambda number: f"{head}/v2/{NAME}/blobs/uploads/{number}?state=a%2Fb%20c&x=%3D"
    image(client, server)
    pushed(client, server)
    assert all("?state=a%2Fb%20c&x=%3D" in request.path for request in server.asked(UPLOADS, "PATCH"))
    assert all("?state=a%2Fb%20c&x=%3D&digest=sha256:" in request.path for request in server.asked(UPLOADS, "PUT"))


def test_chunks_are_as_large_as_the_registry_wants_them(client: Client, server: Misbehaving) -> None:
    server.upload_headers = {"OCI_Chunk_Min_Length": str(20 * MIB)}
    image(client, server, 45 * MIB)
    pushed(client, server)
    ranges = [request.headers["Content-Range"] for request in server.asked(UPLOADS, "PATCH")]
    lengths = [int(end) - int(start) + 1 for start, end in (text.split("-") for text in ranges)]
    assert sorted(lengths)[-3:] == [5 * MIB, 20 * MIB, 20 * MIB]


def test_a_cut_upload_goes_on_where_it_broke_off(client: Client, server: Misbehaving) -> None:
    def take_some_and_cut(handler: Handler) -> None:
        number = handler.path.partition(UPLOADS)[2].partition("?")[0]
        if int(handler.headers["Content-Length"]) < MIB:  # the configuration
            handler.behave()
            return
        server.uploads[number] += handler.rfile.read(3 * MIB)
        handler.close_connection = True

    image(client, server, 5 * MIB)
    server.when("PATCH", UPLOADS, take_some_and_cut, times=2)
    pushed(client, server)
    starts = {request.headers["Content-Range"].partition("-")[0] for request in server.asked(UPLOADS, "PATCH")}
    assert str(3 * MIB) in starts


def test_an_upload_that_the_registry_lost_begins_anew(client: Client, server: Misbehaving) -> None:
    def lose(handler: Handler) -> None:
        server.uploads.pop(handler.path.partition(UPLOADS)[2].partition("?")[0])
        handler.behave()

    image(client, server)
    server.when("PUT", UPLOADS, lose, times=1)
    pushed(client, server)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PATCH", "PUT"])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_trouble_that_passes(client: Client, server: Misbehaving, method: str, status: int) -> None:
    def trouble(handler: Handler) -> None:
        handler.body()
        handler.error(status, "TROUBLE")

    image(client, server)
    server.when(method, "/v2/t/", trouble, times=2)
    pushed(client, server)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PATCH", "PUT"])
@pytest.mark.parametrize(("status", "meaning"), [(500, "in trouble"), (403, "denied"), (401, "a login is needed")])
def test_trouble_that_lasts(client: Client, server: Misbehaving, method: str, status: int, meaning: str) -> None:
    def trouble(handler: Handler) -> None:
        handler.body()
        handler.error(status, "TROUBLE")

    image(client, server)
    server.when(method, "/v2/t/", trouble)
    assert meaning in refused(client, server, "--retry=2")


def test_a_digest_that_is_not_accepted(client: Client, server: Misbehaving) -> None:
    image(client, server)
    server.when("PUT", UPLOADS, lambda handler: handler.error(400, "DIGEST_INVALID"))
    assert "refused with status 400 (DIGEST_INVALID: so it is)" in refused(client, server)


def test_an_answer_without_location(client: Client, server: Misbehaving) -> None:
    image(client, server)
    server.when("POST", UPLOADS, lambda handler: handler.answer(202))
    assert "doesn't say where the upload goes on" in refused(client, server)


def test_attack_14_an_upload_that_leads_elsewhere_does_not_take_the_password_along(
    client: Client, server: Misbehaving
) -> None:
    with running(lambda other: other.contents.clear()) as other:
        server.location = lambda number: f"http://{other.host}/v2/{NAME}/blobs/uploads/{number}"
        other.uploads.update({"1": b"", "2": b""})
        image(client, server)
        server.when("HEAD", "/v2/t/", _basic)
        server.when("POST", "/v2/t/", _basic)
        client("push", "--creds=alice:secret", f"{server.host}/{NAME}:1")
        assert other.requests
        assert all("Authorization" not in request.headers for request in other.requests)
        assert any("Authorization" in request.headers for request in server.requests)


def _basic(handler: Handler) -> None:
    if "Authorization" in handler.headers:
        handler.behave()
    else:
        handler.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="here"')
