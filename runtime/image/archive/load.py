"""Images from outside into the store: every blob verified, then the image put under its names."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from runtime.image.archive.files import Files, Section, open_files, read_document
from runtime.image.digest import Digest, parse_digest
from runtime.image.errors import Corrupt, ImageError, Missing, concerning
from runtime.image.media import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Json,
    describe_document,
    layer_compression,
    make_descriptor,
    parse_config,
    parse_document,
    pick,
    to_bytes,
)
from runtime.image.platform import Platform, this_machine
from runtime.image.reference import Reference, parse_reference
from runtime.image.store import Image, ImageStore
from runtime.image.store.layout import REF_NAME
from runtime.image.tar.streams import sniff

_CONTAINERD_NAME = "io.containerd.image.name"
_CHUNK_BYTES = 1 << 20
_MOST_NESTED = 4


class Wanted(NamedTuple):
    """Which images of an archive, and for what platform."""

    tag: str = ""
    """Only the one of this name; empty: all."""
    platform: Platform | None = None


def load(store: ImageStore, path: str, wanted: Wanted = Wanted()) -> list[Image]:  # noqa: B008
    """Take the images out of an oci-archive, docker-archive or OCI layout (a directory); "-" is standard input.

    Raises ImageError, OSError.
    """
    shown = "standard input" if path == "-" else path
    with store.adding(), concerning(shown), open_files(path, store.scratch) as files:
        if files.has("oci-layout") and files.has("index.json"):
            return _load_layout(store, files, wanted)
        if files.has("manifest.json"):
            return _load_docker(store, files, wanted)
        if files.has("repositories"):
            raise Corrupt("docker before 1.10 saved it, without a manifest.json: load it there and save it again")
        raise Corrupt("it is neither an OCI image nor one that docker saved")


def _load_layout(store: ImageStore, files: Files, wanted: Wanted) -> list[Image]:
    index = parse_document(read_document(files, "index.json"), OCI_INDEX)
    assert isinstance(index, Index)
    entries = [entry for entry in index.manifests if _is_called(wanted.tag, _names(entry))]
    if wanted.tag and not entries:
        there = ", ".join(dict.fromkeys(name for entry in index.manifests for name in _names(entry)))
        raise Missing(f"no image {wanted.tag!r} there; there are: {there}")
    if not entries:
        raise Missing("there is no image in it")
    return [_load_entry(store, files, entry, wanted) for entry in entries]


def _load_entry(store: ImageStore, files: Files, entry: Descriptor, wanted: Wanted) -> Image:
    manifest = _manifest_of(store, files, entry, wanted.platform or this_machine())
    document = parse_document(store.read_document(manifest), manifest.media_type)
    if isinstance(document, Index):
        raise Corrupt(f"{manifest.digest} is an index")
    _copy_blob(store, files, document.config)
    config = parse_config(store.read_document(document.config))
    if len(config.diff_ids) != len(document.layers):
        raise Corrupt(f"image {manifest.digest}: its manifest and its configuration have unequal numbers of layers")
    for layer, diff_id in zip(document.layers, config.diff_ids, strict=True):
        layer_compression(layer)
        _copy_blob(store, files, layer)
        store.unpack_layer(layer, diff_id)
    plain = make_descriptor(manifest.media_type, manifest.digest, manifest.size)
    return store.put_image(_reference(_names(entry)), plain)


def _manifest_of(store: ImageStore, files: Files, entry: Descriptor, platform: Platform) -> Descriptor:
    """The manifest that an entry leads to, copied."""
    for _ in range(_MOST_NESTED):
        _copy_blob(store, files, entry)
        if not entry.is_index:
            return entry
        document = parse_document(store.read_document(entry), entry.media_type)
        if not isinstance(document, Index):
            raise Corrupt(f"{entry.digest} is no index")
        entry = pick(document, platform)
    raise Corrupt("indexes in indexes in indexes")


def _names(entry: Descriptor) -> list[str]:
    names = (entry.annotations.get(key, "") for key in (_CONTAINERD_NAME, REF_NAME))
    return [name for name in names if name]


def _is_called(wanted: str, names: Sequence[str]) -> bool:
    """Whether one of the names is the one that is asked for, if there is one; or both are short for the same."""
    return not wanted or wanted in names or _whole(wanted) in map(_whole, names)


def _whole(name: str) -> str:
    try:
        return str(parse_reference(name))
    except ImageError:
        return name


def _reference(names: list[str]) -> Reference | None:
    """The first that names an image; a bare tag, as `oci:DIR:TAG` has it, doesn't say of what."""
    for name in names:
        if "/" in name or ":" in name:
            try:
                return parse_reference(name)
            except ImageError:
                continue
    return None


def _copy_blob(store: ImageStore, files: Files, descriptor: Descriptor) -> None:
    with files.open(f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}") as section:
        _copy(store, section, descriptor.digest, descriptor.size)


def _copy(store: ImageStore, section: Section, digest: Digest, size: int) -> None:
    with store.write_blob(digest, size) as writer:
        writer.fill(iter(lambda: section.read(_CHUNK_BYTES), b""))


def _load_docker(store: ImageStore, files: Files, wanted: Wanted) -> list[Image]:
    import json

    try:
        entries = json.loads(read_document(files, "manifest.json"))
    except (ValueError, RecursionError):
        raise Corrupt("manifest.json isn't JSON") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Corrupt("manifest.json isn't a list of images")
    chosen = [entry for entry in entries if _is_called(wanted.tag, _strings(entry.get("RepoTags")))]
    if not chosen:
        raise Missing(f"no image {wanted.tag!r} there" if wanted.tag else "there is no image in it")
    return [_load_docker_image(store, files, entry) for entry in chosen]


def _load_docker_image(store: ImageStore, files: Files, entry: Json) -> Image:
    data = read_document(files, _string(entry.get("Config")))
    config = parse_config(data)
    names = _strings(entry.get("Layers"))
    if len(names) != len(config.diff_ids):
        raise Corrupt(f"image {entry['Config']}: manifest.json and its configuration have unequal numbers of layers")
    layers = [_load_layer(store, files, *pair) for pair in zip(names, config.diff_ids, strict=True)]
    digest = store.put_bytes(data)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": str(digest), "size": len(data)},
        "layers": [layer.raw for layer in layers],
    }
    document = to_bytes(manifest)
    store.put_bytes(document)
    descriptor = describe_document(OCI_MANIFEST, document)
    references = [parse_reference(tag) for tag in _strings(entry.get("RepoTags"))]
    image = store.put_image(None, descriptor)
    for reference in references:
        store.put_image(reference, descriptor)
    image.names = sorted(map(str, references))
    return image


def _load_layer(store: ImageStore, files: Files, name: str, diff_id: Digest) -> Descriptor:
    """A layer as it is; uncompressed, as docker saves them, its name in the store is the diff id."""
    with files.open(name) as section:
        compression = sniff(section.beginning())
        digest = diff_id if not compression else _hash(section)
    with files.open(name) as section:
        _copy(store, section, digest, section.size)
        layer = make_descriptor(OCI_LAYER + (f"+{compression}" if compression else ""), digest, section.size)
    store.unpack_layer(layer, diff_id)
    return layer


def _hash(section: Section) -> Digest:
    hashed = hashlib.sha256()
    while data := section.read(_CHUNK_BYTES):
        hashed.update(data)
    return parse_digest(f"sha256:{hashed.hexdigest()}")


def _strings(value: Any) -> list[str]:
    return [_string(text) for text in value or ()]


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Corrupt(f"manifest.json: {value!r} isn't a string")
    return value
