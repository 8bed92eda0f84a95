"""Pulling: an image from a registry, or from the first of its mirrors that can, into the store.

Blobs come several at a time and are unpacked while others still come. The image gets its name last, when all of it is
there; an attempt that fails leaves names as they were, and whole blobs for the next.
"""

import os
from functools import partial

from runtime.errors import describe
from runtime.image.digest import Digest
from runtime.image.errors import Corrupt, ImageError
from runtime.image.media import (
    MOST_DOCUMENT_BYTES,
    Descriptor,
    Index,
    Manifest,
    layer_compression,
    make_descriptor,
    parse_config,
    parse_document,
    pick,
)
from runtime.image.platform import Platform, this_machine
from runtime.image.reference import Reference
from runtime.image.registry.crew import Crew
from runtime.image.registry.download import fetch
from runtime.image.registry.errors import Mismatch, RegistryError
from runtime.image.registry.progress import Progress
from runtime.image.registry.registries import Registries
from runtime.image.registry.repository import Document, Repository
from runtime.image.store import Image, ImageStore

_DOWNLOADS = 4
_MOST_INDEXES = 3


def pull(
    store: ImageStore,
    registries: Registries,
    reference: Reference,
    progress: Progress,
    platform: Platform | None = None,
) -> Image:
    """Have an image in the store, under its name. Raises ImageError: one line that names registry and image."""
    errors: list[ImageError] = []
    for source in registries.sources(reference):
        registries.transport.stopped.clear()
        try:
            with store.adding():
                return _Pull(store, source, progress, platform).run(reference)
        except RegistryError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise RegistryError("; ".join(str(error) for error in errors))


class _Pull:
    """One attempt, from one source."""

    def __init__(
        self, store: ImageStore, source: Repository, progress: Progress, platform: Platform | None
    ) -> None:
        self._store = store
        self._source = source
        self._progress = progress
        self._platform = platform

    def run(self, reference: Reference) -> Image:
        name = f"{self._source.endpoint}{'@' if reference.digest else ':'}{reference.wanted}"
        self._progress.say(f"Pulling {name}")
        try:
            document, manifest = self._resolve(reference)
            descriptor = make_descriptor(manifest.media_type, document.digest, len(document.data))
            self._check_layers(manifest)
            diff_ids = self._config(manifest)
            self._fetch_layers(manifest, diff_ids)
            self._keep(document)
            return self._store.put_image(reference, descriptor)
        except Corrupt as error:
            raise Mismatch(f"{name}: {error}") from None
        except OSError as error:
            raise ImageError(f"{name}: {describe(error)}") from None

    def _resolve(self, reference: Reference) -> tuple[Document, Manifest]:
        """The manifest for our platform, through indexes."""
        document = self._source.manifest(reference.wanted, reference.digest)
        for _ in range(_MOST_INDEXES):
            parsed = parse_document(document.data, document.media_type)
            if not isinstance(parsed, Index):
                return document, parsed
            entry = pick(parsed, self._platform or this_machine())
            document = self._source.manifest(str(entry.digest), entry.digest, entry.size)
            if document.media_type.partition(";")[0].strip() != entry.media_type:
                raise Corrupt(f"manifest {entry.digest} came as {document.media_type!r}, not as its index says")
        raise Corrupt(f"more than {_MOST_INDEXES} indexes one in the other")

    def _check_layers(self, manifest: Manifest) -> None:
        for layer in manifest.layers:
            layer_compression(layer)

    def _config(self, manifest: Manifest) -> list[Digest]:
        """Fetch the configuration; the layers' diff ids."""
        if manifest.config.size > MOST_DOCUMENT_BYTES:
            raise Corrupt(f"its configuration has {manifest.config.size} bytes: {MOST_DOCUMENT_BYTES} are the most")
        fetch(self._source, self._store, manifest.config, lambda done: None)
        config = parse_config(self._store.read_document(manifest.config))
        if len(config.diff_ids) != len(manifest.layers):
            raise Corrupt(f"it has {len(manifest.layers)} layers, and its configuration says {len(config.diff_ids)}")
        if self._platform and config.platform.architecture and config.platform[:2] != self._platform[:2]:
            raise RegistryError(f"{self._source.endpoint}: it is for {config.platform} alone, not for {self._platform}")
        return config.diff_ids

    def _fetch_layers(self, manifest: Manifest, diff_ids: list[Digest]) -> None:
        threads = {"download": _DOWNLOADS, "unpack": min(4, os.cpu_count() or 1)}
        crew = Crew(threads, self._source.transport.stopped.set)
        wanted: dict[Digest, tuple[Descriptor, list[Digest]]] = {}
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            wanted.setdefault(layer.digest, (layer, []))[1].append(diff_id)
        for layer, uncompressed in wanted.values():
            crew.add("download", partial(self._layer, crew, layer, uncompressed))
        try:
            crew.run()
        finally:
            self._progress.close()

    def _layer(self, crew: Crew, layer: Descriptor, diff_ids: list[Digest]) -> None:
        part = layer.digest.short
        there = self._store.has_blob(layer.digest)
        if not there:
            self._progress.state(part, "Downloading")
            there = not fetch(self._source, self._store, layer, partial(self._report, part, layer.size))
        self._progress.state(part, "Already here" if there else "Download complete")
        crew.add("unpack", partial(self._unpack, layer, diff_ids))

    def _report(self, part: str, size: int, done: int) -> None:
        self._progress.bytes(part, "Downloading", done, size)

    def _unpack(self, layer: Descriptor, diff_ids: list[Digest]) -> None:
        self._source.transport.check_stopped()
        for diff_id in diff_ids:
            self._store.unpack_layer(layer, diff_id)
        self._progress.state(layer.digest.short, "Pull complete")

    def _keep(self, document: Document) -> None:
        with self._store.write_blob(document.digest, len(document.data)) as writer:
            writer.fill([document.data])
