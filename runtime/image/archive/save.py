"""Images out of the store: one archive that is an OCI layout and what `docker save` makes at once, or only the first.

Blobs are written as they are kept, so an image that is loaded elsewhere has the digests that it has here.
"""

import json
from collections.abc import Callable, Sequence

from runtime.image.digest import Digest
from runtime.image.media import OCI_INDEX, Descriptor, Json, to_bytes
from runtime.image.reference import parse_reference
from runtime.image.store import Image, ImageStore
from runtime.image.store.layout import LAYOUT_VERSION, REF_NAME
from runtime.image.tar.writer import TarWriter, plain_file

_CHUNK_BYTES = 1 << 20
_CONTAINERD_NAME = "io.containerd.image.name"


def save(
    store: ImageStore, images: Sequence[tuple[Image, str]], write: Callable[[bytes], object], *, docker: bool
) -> None:
    """Write images, each with the name it is to have there (empty: none), as a tar file.

    With `docker`, docker, podman and skopeo read it as a docker-archive too. Raises Missing, Corrupt, OSError.
    """
    archive = TarWriter(write)
    written: set[Digest] = set()
    for image, _ in images:
        manifest = image.manifest()
        for blob in (image.descriptor, manifest.config, *manifest.layers):
            if blob.digest not in written:
                written.add(blob.digest)
                _write_blob(archive, store, blob)
    _write(archive, "index.json", to_bytes(_index(images)))
    if docker:
        _write(archive, "manifest.json", json.dumps(_docker_entries(images), separators=(",", ":")).encode())
    _write(archive, "oci-layout", to_bytes(LAYOUT_VERSION))
    archive.close()


def _index(images: Sequence[tuple[Image, str]]) -> Json:
    entries = []
    for image, name in images:
        entry = {key: image.descriptor.raw[key] for key in ("mediaType", "digest", "size")}
        if name:
            entry["annotations"] = {_CONTAINERD_NAME: name, REF_NAME: name}
        entries.append(entry)
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}


def _docker_entries(images: Sequence[tuple[Image, str]]) -> list[Json]:
    entries: dict[Digest, Json] = {}
    for image, name in images:
        entry = entries.setdefault(
            image.descriptor.digest,
            {
                "Config": _path(image.id),
                "RepoTags": [],
                "Layers": [_path(layer.digest) for layer in image.manifest().layers],
            },
        )
        if name:
            entry["RepoTags"].append(parse_reference(name).familiar)
    return list(entries.values())


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _write_blob(archive: TarWriter, store: ImageStore, blob: Descriptor) -> None:
    archive.add(plain_file(_path(blob.digest), blob.size))
    left = blob.size
    with store.open_blob(blob.digest) as file:
        while left and (data := file.read(min(left, _CHUNK_BYTES))):
            archive.content(data)
            left -= len(data)


def _write(archive: TarWriter, name: str, data: bytes) -> None:
    archive.add(plain_file(name, len(data)), data)
