"""Pulling from a registry that misbehaves: a retry or one clear line, and no image or a whole one."""

import functools
import gzip
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.client import Client
from tests.registry.misbehaving import LAYER_BYTES, OCI, Handler, Misbehaving, running
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = needs.root

MANIFEST = "/manifests/1$"


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with running() as misbehaving:
        yield misbehaving


def pull(client: Client, server: Misbehaving, *options: str) -> str:
    """A pull that must end well, with all of the image."""
    said = client.succeeds("pull", *options, f"{server.host}/t/image:1")
    (image,) = client.store.images()
    assert client.files(image) == {"file0", "file1"}
    return said


def refused(client: Client, server: Misbehaving, *options: str) -> str:
    """A pull that must be refused, in a line that names registry and image, and leaves no image."""
    before = Path(client.store.directory, "index.json").read_bytes()
    said = client.fails("pull", *options, f"{server.host}/t/image:1")
    assert server.host in said
    assert "t/image" in said or "blob sha256:" in said
    assert Path(client.store.directory, "index.json").read_bytes() == before
    return said


def after_it_behaves(client: Client, server: Misbehaving) -> None:
    """What an earlier attempt left does no harm."""
    server.rules.clear()
    pull(client, server)


# what may pass


def test_a_cut_connection_is_resumed_where_it_broke_off(client: Client, server: Misbehaving) -> None:
    server.when("GET", server.layers[0], lambda handler: handler.cut(100_000), times=2)
    pull(client, server)
    ranges = [request.headers.get("Range") for request in server.asked(server.layers[0])]
    assert ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_a_server_without_ranges_sends_all_of_it_again(client: Client, server: Misbehaving) -> None:
    def everything(handler: Handler) -> None:
        handler.answer(200, server.contents[handler.path][1])

    server.when("GET", server.layers[0], lambda handler: handler.cut(100_000), times=1)
    server.when("GET", server.layers[0], everything)
    pull(client, server)


def test_a_wrong_content_range_is_not_believed(client: Client, server: Misbehaving) -> None:
    def wrong(handler: Handler) -> None:
        data = server.contents[handler.path][1]
        handler.answer(206, data[5:], Content_Range=f"bytes 5-{len(data) - 1}/{len(data)}")

    server.when("GET", server.layers[0], lambda handler: handler.cut(100_000), times=1)
    server.when("GET", server.layers[0], wrong, times=1)
    pull(client, server)


def test_416_begins_anew(client: Client, server: Misbehaving) -> None:
    server.when("GET", server.layers[0], lambda handler: handler.cut(100_000), times=1)
    server.when("GET", server.layers[0], lambda handler: handler.answer(416), times=1)
    pull(client, server)
    assert server.asked(server.layers[0])[-1].headers.get("Range") is None


def test_a_connection_cut_for_ever_is_an_error_and_the_next_pull_goes_on(client: Client, server: Misbehaving) -> None:
    server.when("GET", server.layers[0], lambda handler: handler.cut(50_000 if "Range" not in handler.headers else 0))
    assert "the connection was cut" in refused(client, server)
    server.requests.clear()
    after_it_behaves(client, server)
    assert server.asked(server.layers[0])[0].headers["Range"] == "bytes=50000-"


@pytest.mark.parametrize("status", [500, 502, 503, 429])
@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_trouble_that_passes(client: Client, server: Misbehaving, status: int, path: str) -> None:
    server.when("GET", path, lambda handler: handler.error(status, "TROUBLE"), times=2)
    pull(client, server)


def test_retry_after_is_waited_for(client: Client, server: Misbehaving) -> None:
    server.when("GET", MANIFEST, lambda handler: handler.error(429, "TOOMANYREQUESTS", Retry_After="1"), times=1)
    start = time.monotonic()
    pull(client, server)
    assert time.monotonic() - start >= 1


def test_retry_after_an_hour_is_not_waited_for(client: Client, server: Misbehaving) -> None:
    server.when("GET", MANIFEST, lambda handler: handler.error(429, "TOOMANYREQUESTS", Retry_After="3600"))
    said = client.fails("pull", f"{server.host}/t/image:1")
    assert "it wants us to come back in 3600 seconds" in said


@pytest.mark.parametrize(("status", "meaning"), [(429, "too many requests"), (500, "in trouble"), (503, "in trouble")])
def test_trouble_that_lasts(client: Client, server: Misbehaving, status: int, meaning: str) -> None:
    server.when("GET", MANIFEST, lambda handler: handler.error(status, "TROUBLE"))
    said = refused(client, server, "--retry=2")
    assert meaning in said
    assert "(TROUBLE: so it is)" in said
    assert len(server.asked(MANIFEST)) == 2
    after_it_behaves(client, server)


def test_a_stalled_connection_is_given_up_and_resumed(client: Client, server: Misbehaving) -> None:
    def stall(handler: Handler) -> None:
        data = server.contents[handler.path][1]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:70_000])
        server.ending.wait(60)

    server.when("GET", server.layers[0], stall, times=1)
    pull(client, server, "--stall-timeout=1")
    assert server.asked(server.layers[0])[-1].headers["Range"] == "bytes=70000-"


def test_a_registry_that_never_answers_is_an_error(client: Client, server: Misbehaving) -> None:
    server.when("GET", MANIFEST, lambda handler: (handler.server.ending.wait(60), None)[1])
    said = client.fails("pull", "--stall-timeout=0.3", "--retry=2", f"{server.host}/t/image:1")
    assert said == f"pyunion pull: {server.host}: it stopped answering"


# what does not


@pytest.mark.parametrize(("status", "meaning"), [(401, "a login is needed"), (403, "denied"), (404, "no such thing")])
def test_refusals(client: Client, server: Misbehaving, status: int, meaning: str) -> None:
    server.when("GET", MANIFEST, lambda handler: handler.error(status, "NO"))
    assert meaning in refused(client, server)
    assert len(server.asked(MANIFEST)) == 1


def test_a_layer_that_is_not_there(client: Client, server: Misbehaving) -> None:
    server.when("GET", server.layers[1], lambda handler: handler.error(404, "BLOB_UNKNOWN"))
    assert f"blob {server.layers[1]}: there is no such thing" in refused(client, server)
    after_it_behaves(client, server)


def test_a_layer_of_another_digest(client: Client, server: Misbehaving) -> None:
    def lie(handler: Handler) -> None:
        handler.answer(200, b"x" * len(server.contents[handler.path][1]))

    server.when("GET", server.layers[0], lie)
    said = refused(client, server)
    assert f"blob {server.layers[0]}: its content has the digest sha256:" in said
    after_it_behaves(client, server)


@pytest.mark.parametrize("change", [-1, 1, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_layer_of_another_size(client: Client, server: Misbehaving, change: int, chunked: bool) -> None:
    def lie(handler: Handler) -> None:
        data = server.contents[handler.path][1]
        data = data[:change] if change < 0 else data + b"x" * change
        if not chunked:
            handler.answer(200, data)
            return
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))

    server.when("GET", server.layers[0], lie)
    refused(client, server, "--retry=2")
    after_it_behaves(client, server)


def test_a_partial_blob_that_was_damaged_is_fetched_anew(client: Client, server: Misbehaving) -> None:
    draft = Path(client.places.root, "partial", server.layers[0].replace(":", "-"))
    draft.write_bytes(b"x" * 1000)
    pull(client, server)


def test_a_manifest_of_another_digest(client: Client, server: Misbehaving) -> None:
    wanted = server.set_manifest(server.manifest)
    server.contents[f"/v2/t/image/manifests/{wanted}"] = (f"{OCI}.manifest.v1+json", b"{}" + b" " * 5)
    said = client.fails("pull", f"{server.host}/t/image@{wanted}")
    assert f"registry {server.host}: manifest {wanted}: blob {wanted}: its content has the digest" in said


def test_layers_that_do_not_hold_what_the_configuration_says(client: Client, server: Misbehaving) -> None:
    other = server.add("layer.v1.tar+gzip", gzip.compress(b"\0" * 10240))
    server.set_manifest({**server.manifest, "layers": [server.manifest["layers"][0], other]})
    refused(client, server)
    assert client.store.images() == []


@pytest.mark.parametrize(
    "kind",
    ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", f"{OCI}.layer.nondistributable.v1.tar+gzip"],
)
def test_foreign_layers_are_refused_before_anything_is_fetched(client: Client, server: Misbehaving, kind: str) -> None:
    layer = {**server.manifest["layers"][0], "mediaType": kind, "urls": [f"http://{server.host}/elsewhere"]}
    server.set_manifest({**server.manifest, "layers": [layer, server.manifest["layers"][1]]})
    assert "is a foreign one" in refused(client, server)
    assert server.asked("/blobs/|elsewhere") == []


def test_schema_1_is_refused(client: Client, server: Misbehaving) -> None:
    old = {"schemaVersion": 1, "name": "t/image", "fsLayers": [], "history": []}
    server.set_manifest(old, media_type="application/vnd.docker.distribution.manifest.v1+prettyjws")
    refused(client, server)


def test_what_is_no_json_and_no_registry(client: Client, server: Misbehaving) -> None:
    server.contents["/v2/t/image/manifests/1"] = ("text/html", b"<html>Welcome to the hotel</html>")
    refused(client, server)


# rows of the list of attacks


def test_attack_12_a_manifest_of_gigabytes_is_given_up_at_4_mib(client: Client, server: Misbehaving) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", f"{OCI}.manifest.v1+json")
        handler.send_header("Content-Length", str(10 << 30))
        handler.end_headers()
        while not server.ending.is_set():
            handler.wfile.write(b" " * (1 << 20))

    server.when("GET", MANIFEST, endless)
    assert "more than the 4194304 bytes" in client.fails("pull", f"{server.host}/t/image:1")


def test_attack_12_a_configuration_of_gigabytes_is_not_fetched(client: Client, server: Misbehaving) -> None:
    config = {**server.manifest["config"], "size": 10 << 30}
    server.set_manifest({**server.manifest, "config": config})
    assert "its configuration has 10737418240 bytes" in refused(client, server)
    assert server.asked("/blobs/") == []


def test_attack_12_a_layer_of_more_bytes_than_promised_is_cut_there(client: Client, server: Misbehaving) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while not server.ending.is_set():
            handler.wfile.write(b"10000\r\n%b\r\n" % (b"x" * 0x10000))

    server.when("GET", server.layers[0], endless)
    assert "it has more than the" in refused(client, server)
    kept = sum(path.stat().st_size for path in Path(client.places.root, "partial").iterdir())
    assert kept <= 2 * LAYER_BYTES


@pytest.mark.parametrize("mixed", [{"manifests": []}, {"fsLayers": []}])
def test_attack_13_a_manifest_that_is_another_thing_too(
    client: Client, server: Misbehaving, mixed: dict[str, object]
) -> None:
    server.set_manifest({**server.manifest, **mixed})
    assert "at the same time" in refused(client, server)


def test_attack_13_an_index_that_is_a_manifest_too(client: Client, server: Misbehaving) -> None:
    both = {**server.manifest, "manifests": [], "mediaType": f"{OCI}.index.v1+json"}
    server.set_manifest(both)
    assert "at the same time" in refused(client, server)


def test_attack_13_a_media_type_that_contradicts_the_header(client: Client, server: Misbehaving) -> None:
    server.set_manifest(server.manifest, media_type=f"{OCI}.index.v1+json")
    assert "but says that it is" in refused(client, server)


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../../../etc/passwd", f"sha256:{'A' * 64}", f"sha256:{'0' * 63}/", f"md5:{'0' * 32}", "../../x", ""],
)
@pytest.mark.parametrize("place", ["config", "layers"])
def test_attack_13_digests_that_are_paths(client: Client, server: Misbehaving, digest: str, place: str) -> None:
    bad = {**server.manifest["config"], "digest": digest}
    if place == "layers":
        bad = {**server.manifest["layers"][0], "digest": digest}
    server.set_manifest({**server.manifest, place: [bad] if place == "layers" else bad})
    assert "invalid digest" in refused(client, server)
    assert server.asked("/blobs/") == []


def test_attack_13_keys_that_come_twice(client: Client, server: Misbehaving) -> None:
    twice = json.dumps(server.manifest)[:-1] + ', "layers": []}'
    server.contents["/v2/t/image/manifests/1"] = (f"{OCI}.manifest.v1+json", twice.encode())
    assert "a key twice" in refused(client, server)


# the end of our process


def test_a_killed_pull_leaves_nothing_that_hinders_the_next(client: Client, server: Misbehaving) -> None:
    for after in (0, 20_000, 100_000, 250_000):
        server.rules.clear()
        server.when("GET", server.layers[0], functools.partial(_send_then_wait, after=after))
        process = _start(client, server)
        _wait_for_request(server, server.layers[0])
        process.kill()
        process.wait()
        assert client.store.images() == []
        server.requests.clear()
    after_it_behaves(client, server)


def test_an_interrupted_pull_ends_at_once(client: Client, server: Misbehaving) -> None:
    server.when("GET", server.layers[0], functools.partial(_send_then_wait, after=1000))
    process = _start(client, server)
    _wait_for_request(server, server.layers[0])
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert time.monotonic() - start < 5
    after_it_behaves(client, server)


def test_several_pulls_at_once_share_the_work(client: Client, server: Misbehaving) -> None:
    processes = [_start(client, server) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(server.asked(server.layers[0])) == 1
    pull(client, server)


def _send_then_wait(handler: Handler, after: int) -> None:
    data = handler.server.contents[handler.path][1]
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[:after])
    handler.server.ending.wait(60)


def _start(client: Client, server: Misbehaving) -> "subprocess.Popen[bytes]":
    # a shell without job control has what it runs in the background ignore SIGINT, and so would the pull
    argv = ["env", "--default-signal=INT", *client.argv("pull", f"{server.host}/t/image:1")]
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, env=client.environ(), stdin=null, stdout=null, stderr=null)


def _wait_for_request(server: Misbehaving, pattern: str) -> None:
    wait_for(f"a request of {pattern}", lambda: server.asked(pattern))
