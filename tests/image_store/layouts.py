"""OCI layouts of given layers, made by the standard library alone, and the store that the tests load them into."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from runtime.image.archive.load import load
from runtime.image.store import Image, ImageStore
from runtime.places import Places

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One member, with its content."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def make_layout(
    folder: Path,
    layers: Iterable[bytes],
    *,
    pack: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1, mtime=0),
    layer_type: str = f"{LAYER}+gzip",
    config: dict[str, Any] | None = None,
    name: str = "example.org/test:1",
    algorithm: str = "sha256",
    change_manifest: Callable[[dict[str, Any]], None] = lambda manifest: None,
    **fields: Any,
) -> Path:
    """An OCI layout with one image; `fields` are further ones of its configuration."""
    layers = list(layers)
    blobs = folder / "blobs" / algorithm
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.new(algorithm, data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"{algorithm}:{digest}", "size": len(data)}

    diff_ids = [f"{algorithm}:{hashlib.new(algorithm, layer).hexdigest()}" for layer in layers]
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "made.by": "a test",
        **fields,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(json.dumps(image).encode(), CONFIG),
        "layers": [put(pack(layer), layer_type) for layer in layers],
    }
    change_manifest(manifest)
    entry = put(json.dumps(manifest).encode(), MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def make_store(folder: Path) -> ImageStore:
    """An empty store below `folder`."""
    store = ImageStore(Places(str(folder / "root"), str(folder / "run")))
    store.prepare()
    return store


def load_layers(folder: Path, *layers: bytes) -> tuple[ImageStore, Image]:
    """A store below `folder` with an image of these layers, lowest first."""
    store = make_store(folder)
    (image,) = load(store, str(make_layout(folder / "layout", layers)))
    return store, image
