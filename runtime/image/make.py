"""New images: a layer more than another has, or one layer of a tree from outside."""

import copy
import datetime
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from runtime.image.digest import Digest, Source
from runtime.image.errors import Corrupt
from runtime.image.media import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Json,
    describe_document,
    make_descriptor,
    to_bytes,
)
from runtime.image.platform import Platform, this_machine
from runtime.image.reference import Reference
from runtime.image.store import Image, ImageStore
from runtime.image.tar.limits import DEFAULT_LIMITS
from runtime.image.tar.streams import expand, sniffed

_GZIP = 31  # wbits of zlib: a gzip header, without a time
_LEVEL = 4  # 6 takes twice the time and makes 4 % less of a tree of source files
_CHUNK_BYTES = 1 << 20
_PACKED_ANEW = ("bzip2", "xz")
_NONE: Mapping[str, Any] = {}


class Layer(NamedTuple):
    """A layer in the store."""

    descriptor: Descriptor
    diff_id: Digest


class Step(NamedTuple):
    """How an image came about, for its history."""

    created_by: str = ""
    comment: str = ""
    author: str = ""


def make_layer(store: ImageStore, produce: Callable[[Callable[[bytes], object]], None]) -> Layer:
    """Keep the archive that `produce` writes to the function it is given, packed by gzip."""
    hashed, squeezed = hashlib.sha256(), hashlib.sha256()
    with tempfile.TemporaryFile(dir=store.scratch) as file:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)

        def keep(data: bytes) -> None:
            squeezed.update(data)
            file.write(data)

        def write(data: bytes) -> None:
            hashed.update(data)
            keep(packer.compress(data))

        produce(write)
        keep(packer.flush())
        digest = Digest("sha256", squeezed.hexdigest())
        size = _put_file(store, file.fileno(), digest, file.tell(), file.flush)
    return Layer(make_descriptor(f"{OCI_LAYER}+gzip", digest, size), Digest("sha256", hashed.hexdigest()))


def take_layer(store: ImageStore, source: Source) -> Layer:
    """Keep an archive from outside as it is, or by gzip if a layer can't be packed so. Raises Corrupt: it is none."""
    hashed, unpacked = hashlib.sha256(), hashlib.sha256()
    with tempfile.TemporaryFile(dir=store.scratch) as file:
        while data := source.read(_CHUNK_BYTES):
            hashed.update(data)
            file.write(data)
        if not file.tell():
            raise Corrupt("an empty file isn't an archive")
        size = file.tell()
        file.seek(0)
        compression = sniffed(file)
        pieces = expand(file, compression, DEFAULT_LIMITS)
        if compression in _PACKED_ANEW:
            layer = make_layer(store, partial(_write_all, pieces))
        else:
            _write_all(pieces, unpacked.update)
            digest = Digest("sha256", hashed.hexdigest())
            _put_file(store, file.fileno(), digest, size, file.flush)
            media_type = OCI_LAYER + (f"+{compression}" if compression else "")
            layer = Layer(make_descriptor(media_type, digest, size), Digest("sha256", unpacked.hexdigest()))
    store.unpack_layer(*layer)  # what can't be unpacked is no image
    return layer


def _write_all(pieces: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    for piece in pieces:
        write(piece)


def _put_file(store: ImageStore, fd: int, digest: Digest, size: int, flush: Callable[[], None]) -> int:
    flush()
    with store.write_blob(digest, size) as writer:
        writer.fill(os.pread(fd, _CHUNK_BYTES, offset) for offset in range(0, size, _CHUNK_BYTES))
    return size


def make_image(
    store: ImageStore, base: Image | None, layer: Layer | None, step: Step, *, fields: Mapping[str, Any] = _NONE,
    change: Callable[[Json], None] = lambda _: None, reference: Reference | None = None,
    platform: Platform | None = None,
) -> Image:  # fmt: skip
    """An image of all that `base` has (None: nothing) and `layer`.

    Of the base's configuration, `fields` of what runs are replaced (without a value: removed), and then `change` may
    make more of it; fields we don't know are kept. Raises ImageError, and what `change` does.
    """
    config = copy.deepcopy(base.config().raw) if base else new_config(platform or this_machine())
    manifest = base.manifest() if base else None
    docker = manifest is not None and manifest.media_type == DOCKER_MANIFEST
    run = {**(config.get("config") or {}), **fields}
    run = config["config"] = {key: value for key, value in run.items() if value or key not in fields}
    change(run)
    _record(config, layer, step)
    layers: list[Json] = [entry.raw for entry in manifest.layers] if manifest else []
    if layer is not None:
        layers.append({**layer.descriptor.raw, **({"mediaType": f"{DOCKER_LAYER}.gzip"} if docker else {})})
    return write_image(store, config, layers, reference=reference, docker=docker)


def write_image(
    store: ImageStore, config: Json, layers: Sequence[Json], *, reference: Reference | None = None, docker: bool = False
) -> Image:
    """Keep the image of a configuration and the descriptors of its layers (lowest first), which are here.

    Raises Missing, Corrupt.
    """
    data = to_bytes(config)
    config_digest = store.put_bytes(data)
    document = to_bytes({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": {
            "mediaType": DOCKER_CONFIG if docker else OCI_CONFIG, "digest": str(config_digest), "size": len(data),
        },
        "layers": layers,
    })  # fmt: skip
    store.put_bytes(document)
    return store.put_image(reference, describe_document(DOCKER_MANIFEST if docker else OCI_MANIFEST, document))


def new_config(platform: Platform) -> Json:
    """The configuration of an image of nothing."""
    config: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        config["variant"] = platform.variant
    return config


def _record(config: dict[str, Any], layer: Layer | None, step: Step) -> None:
    """Add the layer and the step to the configuration, made now."""
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    rootfs = config.setdefault("rootfs", {"type": "layers", "diff_ids": []})
    history: dict[str, Any] = {"created": now}
    history.update((key, value) for key, value in step._asdict().items() if value)
    if layer is not None:
        rootfs["diff_ids"] = [*(rootfs.get("diff_ids") or []), str(layer.diff_id)]
    else:
        history["empty_layer"] = True
    config["history"] = [*(config.get("history") or []), history]
    config["created"] = now
    if step.author:
        config["author"] = step.author
