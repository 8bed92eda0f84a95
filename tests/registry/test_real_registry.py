"""Debian's docker-registry without TLS, images of umoci, skopeo and Buildah; skopeo and Podman check what comes out."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.image.digest import of
from runtime.image.platform import parse_platform
from runtime.image.reference import parse_reference
from tests.registry.client import Client
from tests.registry.images import LAYERS, add_layer, publish, tool
from tests.registry.servers import Server, free_port
from tests.support import needs

pytestmark = needs.root

EVERYTHING = {"bin/busybox", *(f"bin/{name}" for name in ("sh", "cat", "echo", "ls", "true"))} | {
    f"data/{number}" for number in range(1, LAYERS)
}


def inspect(name: str, *options: str) -> dict[str, object]:
    """What skopeo says of an image in a plain registry."""
    found: dict[str, object] = json.loads(tool("skopeo", "inspect", "--tls-verify=false", *options, f"docker://{name}"))
    return found


@pytest.mark.parametrize("name", ["t/many:1", "t/zstd:1", "t/docker:1", "t/multi:1"])
def test_pull_by_tag(client: Client, plain: Server, name: str) -> None:
    said = client.succeeds("pull", f"{plain.host}/{name}")
    image = client.store.resolve(f"{plain.host}/{name}")
    assert client.files(image) == EVERYTHING
    assert said.count("Pull complete") == LAYERS
    assert said.splitlines()[-1] == f"{plain.host}/{name}"
    if "multi" not in name:
        assert str(image.descriptor.digest) == inspect(f"{plain.host}/{name}")["Digest"]


def test_what_was_pulled_is_an_oci_layout_that_skopeo_reads(client: Client, plain: Server) -> None:
    client.succeeds("pull", f"{plain.host}/t/many:1")
    found = json.loads(tool("skopeo", "inspect", f"oci:{client.store.directory}:{plain.host}/t/many:1"))
    assert len(found["Layers"]) == LAYERS


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "arm64"])
def test_pull_for_a_platform(client: Client, plain: Server, platform: str) -> None:
    client.succeeds("pull", "--platform", platform, f"{plain.host}/t/multi:1")
    assert client.store.resolve(f"{plain.host}/t/multi:1").config().platform == parse_platform(platform)


def test_pull_for_a_platform_that_is_not_there_says_which_are(client: Client, plain: Server) -> None:
    said = client.fails("pull", f"{plain.host}/t/multi:1", "--platform=linux/s390x")
    assert f"{plain.host}/t/multi:1" in said
    assert "linux/s390x" in said
    assert "linux/amd64, linux/arm64" in said


def test_pull_of_one_platform_alone_is_refused_for_another(client: Client, plain: Server) -> None:
    assert "alone, not for linux/s390x" in client.fails("pull", "--platform=linux/s390x", f"{plain.host}/t/many:1")
    assert client.store.images() == []


def test_pull_by_digest(client: Client, plain: Server) -> None:
    name = f"{plain.host}/t/many@{inspect(f'{plain.host}/t/many:1')['Digest']}"
    client.succeeds("pull", name)
    assert client.files(client.store.resolve(name)) == EVERYTHING


def test_pull_by_the_digest_of_an_index(client: Client, plain: Server) -> None:
    raw = tool("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{plain.host}/t/multi:1")
    name = f"{plain.host}/t/multi@{of(raw.encode())}"
    client.succeeds("pull", name)
    assert client.files(client.store.resolve(name)) == EVERYTHING


def test_a_second_pull_fetches_nothing(client: Client, plain: Server) -> None:
    client.succeeds("pull", f"{plain.host}/t/many:1")
    said = client.succeeds("pull", f"{plain.host}/t/many:1")
    assert said.count("Already here") == LAYERS
    assert "Downloading" not in said


def test_quiet_prints_the_name_alone(client: Client, plain: Server) -> None:
    done = client("pull", "-q", f"{plain.host}/t/many:1")
    assert (done.stdout, done.stderr) == (f"{plain.host}/t/many:1\n", "")


def test_what_is_not_there_is_said_in_one_line(client: Client, plain: Server) -> None:
    said = client.fails("pull", f"{plain.host}/t/nothing:1")
    assert said.startswith(f"pyunion pull: registry {plain.host}: t/nothing: manifest 1: there is no such thing")


def test_a_registry_that_does_not_run_is_named_at_once(client: Client) -> None:
    host = f"127.0.0.1:{free_port()}"
    assert client.fails("pull", f"{host}/t/x") == f"pyunion pull: {host}: connection refused"


def test_push_then_skopeo_inspects_and_podman_runs_it(client: Client, plain: Server, podman: list[str]) -> None:
    client.succeeds("pull", f"{plain.host}/t/many:1")
    target = f"{plain.host}/pushed/many:2"
    client.succeeds("push", f"{plain.host}/t/many:1", target)
    assert inspect(target)["Digest"] == str(client.store.resolve(f"{plain.host}/t/many:1").descriptor.digest)
    assert len(inspect(target)["Layers"]) == LAYERS  # type: ignore[arg-type]
    tool(*podman, "pull", "-q", "--tls-verify=false", target)
    assert tool(*podman, "run", "--rm", target, "cat", "/data/1", "/data/29") == "1\n29\n"


def test_push_of_zstd_layers(client: Client, plain: Server, tmp_path: Path) -> None:
    client.succeeds("pull", f"{plain.host}/t/zstd:1")
    client.succeeds("push", f"{plain.host}/t/zstd:1", f"{plain.host}/pushed/zstd:1")
    source = f"docker://{plain.host}/pushed/zstd:1"
    tool("skopeo", "copy", "-q", "--src-tls-verify=false", source, f"dir:{tmp_path}/out")
    assert "+zstd" in (tmp_path / "out/manifest.json").read_text()


def test_push_takes_over_what_another_repository_of_the_registry_has(client: Client, plain: Server) -> None:
    client.succeeds("pull", f"{plain.host}/t/many:1")
    said = client.succeeds("push", f"{plain.host}/t/many:1", f"{plain.host}/mounted/many:1")
    assert said.count("Mounted from t/many") == LAYERS + 1
    assert "PATCH /v2/mounted/many" not in plain.log.read_text()


def test_push_sends_nothing_twice(client: Client, plain: Server) -> None:
    client.succeeds("pull", f"{plain.host}/t/many:1")
    client.succeeds("push", f"{plain.host}/t/many:1", f"{plain.host}/twice/many:1")
    said = client.succeeds("push", f"{plain.host}/t/many:1", f"{plain.host}/twice/many:2")
    assert said.count("Layer already exists") == LAYERS + 1


def test_push_of_large_layers_in_chunks(
    client: Client, plain: Server, layout: Path, tmp_path: Path, another_client: Callable[[], Client]
) -> None:
    large = tmp_path / "tree/large"
    large.parent.mkdir()
    large.write_bytes(os.urandom(40 << 20))
    own = tmp_path / "own"
    tool("skopeo", "copy", "-q", f"oci:{layout}:many", f"oci:{own}:large")
    add_layer(own, "large", large.parent)
    publish(own, plain.host, "t/large:1", "large")
    client.succeeds("pull", f"{plain.host}/t/large:1")
    name = f"localhost:{plain.host.rpartition(':')[2]}/sent:1"  # nothing is mounted from a registry of another name
    client.store.tag(client.store.resolve(f"{plain.host}/t/large:1"), parse_reference(name))
    said = client.succeeds("push", name)
    assert said.count("Pushed") == LAYERS + 2
    assert plain.log.read_text().count('"PATCH /v2/sent/blobs') >= LAYERS + 2 + 2
    other = another_client()
    other.succeeds("pull", f"{plain.host}/sent:1")
    (path,) = [f"{layer}/large" for layer in other.store.layers_of(other.store.images()[0])[:1]]
    assert Path(path).read_bytes() == large.read_bytes()


def test_archives_that_umoci_does_not_end(client: Client, plain: Server, layout: Path, tmp_path: Path) -> None:
    """`umoci insert` (0.4.7) writes neither the end of an archive nor what fills its last block."""
    own = tmp_path / "own"
    (tmp_path / "file").write_text("x\n")
    tool("skopeo", "copy", "-q", f"oci:{layout}:many", f"oci:{own}:more")
    tool("umoci", "insert", "--image", f"{own}:more", tmp_path / "file", "/inserted")
    publish(own, plain.host, "t/inserted:1", "more")
    client.succeeds("pull", f"{plain.host}/t/inserted:1")
    assert client.files(client.store.images()[0]) == EVERYTHING | {"inserted"}


def test_push_of_what_is_not_here(client: Client, plain: Server) -> None:
    assert "no such image" in client.fails("push", f"{plain.host}/t/none:1")


def test_run_of_a_missing_image_pulls_it_and_what_is_committed_on_it_runs_under_podman(
    client: Client, plain: Server, podman: list[str]
) -> None:
    needs.fuse_device()
    name, target = f"{plain.host}/t/many:1", f"{plain.host}/pushed/committed:1"
    done = client("run", "--name", "one", name, "sh", "-c", "echo $(cat /data/7) eggs > /basket; cat /basket")
    assert (done.returncode, done.stdout) == (0, "7 eggs\n"), done.stderr
    client.succeeds("commit", "one", target)
    client.succeeds("push", target)
    assert len(inspect(target)["Layers"]) == LAYERS + 1  # type: ignore[arg-type]
    assert tool(*podman, "run", "--rm", "--tls-verify=false", target, "cat", "/basket", "/data/29") == "7 eggs\n29\n"
