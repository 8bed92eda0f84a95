"""Images that the real tools made: many layers, zstd, several platforms."""

import gzip
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from backports import zstd

from runtime.image.archive.load import Wanted, load
from runtime.image.errors import Corrupt
from runtime.image.platform import parse_platform
from tests.image_store.layouts import LAYER, archive, make_layout, make_store, member
from tests.support import needs
from tests.support.mounts import MountFactory
from tests.support.tree import assert_same_tree, snapshot

pytestmark = needs.root


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Thirty layers by umoci; each changes, adds and deletes, and one makes a directory anew."""
    needs.commands("umoci", "skopeo")
    path = tmp_path / "layout"
    run("umoci", "init", "--layout", path)
    run("umoci", "new", "--image", f"{path}:x")
    run("umoci", "unpack", "--image", f"{path}:x", tmp_path / "bundle")
    root = tmp_path / "bundle/rootfs"
    for number in range(30):
        folder = root / f"d{number % 4}"
        if number == 17:
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}").write_text(f"{number}\n" * 50)
        (root / "changed").write_text(str(number))
        if number > 5:
            (root / f"d{(number - 4) % 4}" / f"f{number - 4}").unlink(missing_ok=True)
        run("umoci", "repack", "--refresh-bundle", "--image", f"{path}:x", tmp_path / "bundle")
    return path


def test_thirty_layers_and_zstd(layout: Path, tmp_path: Path, union_mount: MountFactory) -> None:
    squeezed = ("--dest-compress", "--dest-compress-format", "zstd")
    run("skopeo", "copy", "-q", *squeezed, f"oci:{layout}:x", f"oci:{tmp_path}/zstd:x")
    store = make_store(tmp_path)
    (image,) = load(store, str(layout))
    (other,) = load(store, str(tmp_path / "zstd"))
    stack = store.layers_of(image)
    assert len([path for path in stack if "/chain-" not in path]) == 30
    assert len(stack) == 31
    assert {layer.media_type for layer in other.manifest().layers} == {f"{LAYER}+zstd"}
    assert store.layers_of(other) == stack
    mounted = union_mount([Path(path) for path in stack])
    run("umoci", "raw", "unpack", "--image", f"{layout}:x", tmp_path / "umoci")
    assert_same_tree(
        snapshot(tmp_path / "umoci"), snapshot(mounted.path), ignore={"nlink"}, skip=lambda path: path == "."
    )


def test_an_index_of_several_platforms(tmp_path: Path) -> None:
    """One entry is of a kind that nobody knows, and is passed over."""
    offers = {"amd64": {}, "arm64": {"variant": "v8"}, "arm": {"variant": "v6"}, "s390x": {}}
    whole = tmp_path / "whole"
    (whole / "blobs/sha256").mkdir(parents=True)
    entries = [{"mediaType": "application/x-unknown", "digest": "sha256:" + "0" * 64, "size": 1}]
    for name, more in offers.items():
        layer = archive([member(name)])
        part = make_layout(tmp_path / name, [layer], pack=zstd.compress, layer_type=f"{LAYER}+zstd")
        shutil.copytree(part / "blobs", whole / "blobs", dirs_exist_ok=True)
        (entry,) = json.loads((part / "index.json").read_text())["manifests"]
        entries.append({**entry, "platform": {"os": "linux", "architecture": name, **more}})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    _put_index(whole, json.dumps(index).encode())
    store = make_store(tmp_path)
    for wanted, found in (("amd64", "amd64"), ("linux/aarch64", "arm64"), ("linux/arm/v7", "arm"), ("s390x", "s390x")):
        (image,) = load(store, str(whole), Wanted(platform=parse_platform(wanted)))
        assert [path.name for path in Path(store.layers_of(image)[0]).iterdir()] == [found]
    with pytest.raises(Corrupt, match="no image for linux/riscv64; platforms it has: linux/amd64, linux/arm/v6"):
        load(store, str(whole), Wanted(platform=parse_platform("linux/riscv64")))


def _put_index(layout: Path, data: bytes) -> None:
    """Make `data` the one document that index.json leads to."""
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    entry = {
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(data),
        "annotations": {"org.opencontainers.image.ref.name": "example.org/many:1"},
    }  # fmt: skip
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def test_a_stream_with_something_behind_it(tmp_path: Path) -> None:
    """Zeros behind a gzip stream are padding; other bytes are a mistake."""
    layer = archive([member("x")])
    store = make_store(tmp_path)
    load(store, str(make_layout(tmp_path / "good", [layer], pack=lambda data: gzip.compress(data) + bytes(300_000))))
    other = archive([member("y")])
    with pytest.raises(Corrupt, match="not a gzip stream"):
        load(store, str(make_layout(tmp_path / "bad", [other], pack=lambda data: gzip.compress(data) + b"junk")))
