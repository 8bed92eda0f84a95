"""Documents of images: descriptors, manifests, indexes and configurations, of OCI and of Docker's schema 2.

Each is checked when it is read and keeps the value it was read from, so that fields of others survive a rewrite.
What a document is, its media type says, and its content must agree: one that could be read as a manifest and as an
index at once is refused (CVE-2021-41190).
"""

import json
import re
from typing import Any, NamedTuple

from runtime.image.digest import Digest, of, parse_digest
from runtime.image.errors import Corrupt
from runtime.image.platform import Platform, choose, normal

MOST_DOCUMENT_BYTES = 4 << 20
_MOST_SIZE = (1 << 63) - 1
_SURROGATE = re.compile("[\ud800-\udfff]")

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
_LAYERS = {
    OCI_LAYER: "", f"{OCI_LAYER}+gzip": "gzip", f"{OCI_LAYER}+zstd": "zstd",
    DOCKER_LAYER: "", f"{DOCKER_LAYER}.gzip": "gzip", f"{DOCKER_LAYER}.zstd": "zstd",
}
_FOREIGN = ("application/vnd.docker.image.rootfs.foreign.diff.tar", "application/vnd.oci.image.layer.nondistributable.")

Json = dict[str, Any]


class Descriptor(NamedTuple):
    """What another document says of a blob."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None
    annotations: dict[str, str]
    raw: Json
    """All of it, as it was read."""

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @property
    def is_manifest(self) -> bool:
        return self.media_type in MANIFESTS


class Manifest(NamedTuple):
    """One image for one platform."""

    media_type: str
    config: Descriptor
    layers: list[Descriptor]
    """Lowest first."""
    annotations: dict[str, str]
    raw: Json


class Index(NamedTuple):
    """One image for several platforms. Entries of unknown media types are not in it."""

    media_type: str
    manifests: list[Descriptor]
    annotations: dict[str, str]
    raw: Json


class ImageConfig(NamedTuple):
    """What an image is made of and how a container of it runs."""

    platform: Platform
    diff_ids: list[Digest]
    """Lowest layer first."""
    history: list[Json]
    config: Json
    """Env, Entrypoint, Cmd, WorkingDir, User, Volumes, ExposedPorts, StopSignal, Labels and others; types checked."""
    created: str
    raw: Json


def make_descriptor(media_type: str, digest: Digest, size: int, **more: Any) -> Descriptor:
    """A descriptor of ours; `more` are further fields, as in JSON."""
    return parse_descriptor({"mediaType": media_type, "digest": str(digest), "size": size, **more})


def describe_document(media_type: str, data: bytes, **more: Any) -> Descriptor:
    """The descriptor of a document that is `data`."""
    return make_descriptor(media_type, of(data), len(data), **more)


def to_bytes(value: Json) -> bytes:
    """A document as we write it: equal values give equal bytes. What is no Unicode becomes U+FFFD, as Go has it."""
    return _SURROGATE.sub("\ufffd", json.dumps(value, separators=(",", ":"), ensure_ascii=False)).encode()


def parse_document(data: bytes, media_type: str = "") -> Manifest | Index:
    """The manifest or index that `data` is; `media_type` is what it came as, if anybody said. Raises Corrupt."""
    value = parse_json(data)
    claimed = value.get("mediaType", "")
    media_type = media_type.partition(";")[0].strip()
    if claimed and media_type and claimed != media_type:
        raise Corrupt(f"a document came as {media_type!r} but says that it is {claimed!r}")
    kind = media_type or claimed or _guess(value)
    if kind in MANIFESTS:
        if "manifests" in value or "fsLayers" in value:
            raise Corrupt("a manifest that is an index at the same time")
        return _manifest(kind, value)
    if kind in INDEXES:
        if "layers" in value or "config" in value or "fsLayers" in value:
            raise Corrupt("an index that is a manifest at the same time")
        return _index(kind, value)
    raise Corrupt(f"a document of type {kind!r} is neither an image's manifest nor an index")


def parse_config(data: bytes) -> ImageConfig:
    """Raises Corrupt."""
    value = parse_json(data)
    rootfs = _typed(value, "rootfs", dict, {})
    if rootfs.get("type", "layers") != "layers":
        raise Corrupt(f"image configuration: rootfs is of type {rootfs['type']!r}")
    diff_ids = [parse_digest(text) for text in _typed(rootfs, "diff_ids", list, [])]
    history = _typed(value, "history", list, [])
    if not all(isinstance(entry, dict) for entry in history):
        raise Corrupt("image configuration: an entry of its history isn't an object")
    words = [_typed(value, key, str, "") for key in ("os", "architecture", "variant", "created")]
    platform = normal(words[0] or "linux", words[1], words[2])
    return ImageConfig(platform, diff_ids, history, _run_config(value), words[3], value)


def parse_descriptor(value: object) -> Descriptor:
    """Raises Corrupt."""
    if not isinstance(value, dict):
        raise Corrupt("a descriptor isn't an object")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MOST_SIZE:
        raise Corrupt(f"a descriptor's size is {size!r}")
    annotations = _strings(value, "annotations")
    media_type = _typed(value, "mediaType", str, "")
    return Descriptor(media_type, parse_digest(value.get("digest")), size, _platform(value), annotations, value)


def layer_compression(descriptor: Descriptor) -> str:
    """gzip, zstd or nothing, as its media type says. Raises Corrupt: a foreign layer, or no layer at all."""
    media_type = descriptor.media_type
    if media_type.startswith(_FOREIGN):
        raise Corrupt(f"layer {descriptor.digest} is a foreign one ({media_type}): not to be passed on, says its owner")
    try:
        return _LAYERS[media_type]
    except KeyError:
        raise Corrupt(f"layer {descriptor.digest}: {media_type!r} is no type of layer") from None


def pick(index: Index, wanted: Platform) -> Descriptor:
    """The entry of `index` for a platform. Raises Corrupt, which lists those there are."""
    found = choose(wanted, [(entry.platform, entry) for entry in index.manifests])
    if found is None:
        there = ", ".join(sorted({str(entry.platform) for entry in index.manifests})) or "none"
        raise Corrupt(f"there is no image for {wanted}; platforms it has: {there}")
    return found


def parse_json(data: bytes) -> Json:
    """The object that `data` is. Raises Corrupt: another thing, too large, a key twice, or no JSON."""
    if len(data) > MOST_DOCUMENT_BYTES:
        raise Corrupt(f"a document of {len(data)} bytes: {MOST_DOCUMENT_BYTES} are the most")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object)
        if b"\\u" in data:
            value = json.loads(to_bytes(value))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"a document isn't JSON: {error}") from None
    if not isinstance(value, dict):
        raise Corrupt("a document isn't a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> Json:
    """Readers differ on which of two equal keys counts."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a key twice")
    return value


def _guess(value: Json) -> str:
    """What OCI documents are that don't say it."""
    if value.get("schemaVersion") == 1 or "fsLayers" in value:
        raise Corrupt("a manifest of Docker's schema 1, which has been retired: push the image again with a newer tool")
    if "manifests" in value:
        return OCI_INDEX
    return OCI_MANIFEST if "layers" in value and "config" in value else ""


def _manifest(kind: str, value: Json) -> Manifest:
    _check_version(value)
    layers = [parse_descriptor(layer) for layer in _typed(value, "layers", list, [])]
    return Manifest(kind, parse_descriptor(value.get("config")), layers, _strings(value, "annotations"), value)


def _index(kind: str, value: Json) -> Index:
    _check_version(value)
    entries = [parse_descriptor(entry) for entry in _typed(value, "manifests", list, [])]
    known = [entry for entry in entries if entry.is_manifest or entry.is_index]
    return Index(kind, known, _strings(value, "annotations"), value)


def _check_version(value: Json) -> None:
    if value.get("schemaVersion") != 2:
        raise Corrupt(f"a manifest of schema {value.get('schemaVersion')!r}: 2 is the only one known")


def _platform(value: Json) -> Platform | None:
    platform = _typed(value, "platform", dict, None)
    if platform is None:
        return None
    return normal(*(_typed(platform, key, str, "") for key in ("os", "architecture", "variant")))


_RUN_TYPES = {
    "Env": list, "Entrypoint": list, "Cmd": list, "WorkingDir": str, "User": str, "Volumes": dict,
    "ExposedPorts": dict, "StopSignal": str, "Labels": dict, "OnBuild": list, "Shell": list,
}


def _run_config(value: Json) -> Json:
    config = _typed(value, "config", dict, {})
    checked = {key: _typed(config, key, kind, kind()) for key, kind in _RUN_TYPES.items() if key in config}
    for key, said in checked.items():
        words = [said] if isinstance(said, str) else list(said)
        if not all(isinstance(word, str) for word in words):
            raise Corrupt(f"image configuration: {key} isn't a list of strings")
        if any("\0" in word for word in words):
            raise Corrupt(f"image configuration: {key} has a NUL in it")
    _strings(config, "Labels")
    return {**config, **checked}


def _strings(value: Json, key: str) -> dict[str, str]:
    found: dict[str, str] = _typed(value, key, dict, {})
    if not all(isinstance(text, str) for text in found.values()):
        raise Corrupt(f"a value of {key} isn't a string")
    return found


def _typed(value: Json, key: str, kind: type, default: Any) -> Any:
    """Go writes null for what is absent."""
    found = value.get(key)
    if found is None:
        return default
    if not isinstance(found, kind):
        raise Corrupt(f"{key} is {json.dumps(found)[:60]}, which is no {kind.__name__}")
    return found
