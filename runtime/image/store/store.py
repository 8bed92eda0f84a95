"""The façade: images by name, digest and id; their blobs; their unpacked layers; removal of what nobody uses.

Safe for several processes at once: blobs and layers appear whole, index.json is replaced under a lock, and nothing is
collected while anybody adds (adding()). A killed process leaves at most what collect() clears.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from runtime.errors import named
from runtime.image.digest import Digest, verify
from runtime.image.errors import Corrupt, ImageError, Missing
from runtime.image.media import MOST_DOCUMENT_BYTES, Descriptor, Index, Json, parse_config, parse_document
from runtime.image.reference import Reference, parse_reference
from runtime.image.store import layout
from runtime.image.store.blobs import Blobs, BlobWriter
from runtime.image.store.cache import Cache
from runtime.image.store.images import Image
from runtime.image.store.layers import Layers
from runtime.image.store.locks import locked, locked_if_free
from runtime.places import Places

_FEWEST_ID_DIGITS = 3


class ImageStore:
    """All images of one pair of directories."""

    def __init__(self, places: Places) -> None:
        root = self._root = places.root
        self.directory = f"{root}/images"
        """The OCI image layout."""
        self.scratch = f"{root}/partial"
        """For files without a name."""
        self.cache = Cache(f"{root}/cache")
        """Of builds."""
        self._locks = f"{root}/locks"
        self._blobs = Blobs(f"{self.directory}/blobs", f"{root}/partial")
        self._layers = Layers(f"{root}/layers")

    def prepare(self) -> None:
        """Make the directories that are missing."""
        for path in (self.directory, self._locks):
            os.makedirs(path, mode=0o700, exist_ok=True)
        self._blobs.prepare()
        self._layers.prepare()
        if not os.path.exists(f"{self.directory}/oci-layout"):
            with self._index_locked():
                layout.prepare(self.directory)

    @contextmanager
    def adding(self) -> Iterator[None]:
        """While this is held, nothing is collected: blobs, layers and images can be added one after the other."""
        with locked(f"{self._locks}/use", shared=True), named(self._root):
            yield

    def has_blob(self, digest: Digest) -> bool:
        return self._blobs.has(digest)

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Raises Missing."""
        return self._blobs.open(digest)

    def blob_size(self, digest: Digest) -> int:
        """Raises Missing."""
        return self._blobs.size(digest)

    def write_blob(self, digest: Digest, size: int | None) -> BlobWriter:
        """A writer to be used as a context manager; waits for another process that writes the same blob."""
        return self._blobs.write(digest, size)

    def put_bytes(self, data: bytes) -> Digest:
        """Keep a small document."""
        return self._blobs.put(data)

    def read_document(self, descriptor: Descriptor) -> bytes:
        """A manifest or configuration, verified. Raises Missing, Corrupt."""
        if descriptor.size > MOST_DOCUMENT_BYTES:
            raise Corrupt(f"document {descriptor.digest} has more than {MOST_DOCUMENT_BYTES} bytes: {descriptor.size}")
        with self.open_blob(descriptor.digest) as file:
            data = file.read(descriptor.size + 1)
        verify(data, descriptor.digest, descriptor.size)
        return data

    def unpack_layer(self, descriptor: Descriptor, diff_id: Digest) -> str:
        """The directory of an unpacked layer, unpacked if it isn't yet. Any thread may call it.

        Raises Corrupt, Missing, OSError.
        """
        return self._layers.unpack(self._blobs.open, descriptor, diff_id)

    def layer_path(self, diff_id: Digest) -> str:
        """Where a layer is, or would be, unpacked."""
        return self._layers.path(diff_id)

    def layers_of(self, image: Image) -> list[str]:
        """The directories of an image's layers, uppermost first, unpacked if they aren't yet."""
        return self.stack_of(list(zip(image.manifest().layers, image.config().diff_ids, strict=True)))

    def stack_of(self, layers: Sequence[tuple[Descriptor, Digest]]) -> list[str]:
        """The same for layers (lowest first, with their diff ids) that no image has yet."""
        for descriptor, diff_id in layers:
            self.unpack_layer(descriptor, diff_id)
        return self._layers.stack([diff_id for _, diff_id in layers])

    def root_of(self, diff_ids: Sequence[Digest]) -> str:
        """Of these layers (lowest first) the one whose own directory has the root's owner, mode, xattrs and times.

        Empty for an image without layers. Precondition: they are unpacked.
        """
        return self._layers.root(diff_ids)

    def put_image(
        self, reference: Reference | None, descriptor: Descriptor, *, annotations: Mapping[str, str] | None = None
    ) -> Image:
        """Give an image, all of whose blobs are here, a name, which another image may lose.

        Raises Missing, Corrupt: a blob isn't here, or its documents don't agree.
        """
        image = Image(self, descriptor, [str(reference)] if reference else [])
        image.config()
        for layer in image.manifest().layers:
            size = self.blob_size(layer.digest)
            if size != layer.size:
                raise Corrupt(f"layer {layer.digest} has {size} bytes and should have {layer.size}")
        self._add_entry(layout.with_name(descriptor, str(reference or ""), annotations or {}))
        return image

    def images(self) -> list[Image]:
        """Every image, those with names first, by name."""
        names: dict[Digest, list[str]] = {}
        descriptors: dict[Digest, Descriptor] = {}
        try:
            entries = layout.read_index(self.directory).manifests
        except FileNotFoundError:  # nobody has prepared it
            return []
        for entry in entries:
            if entry.is_manifest:
                descriptors.setdefault(entry.digest, entry)
                name = layout.name_of(entry.raw)
                names.setdefault(entry.digest, []).extend([name] if name else [])
        found = [Image(self, descriptor, sorted(names[digest])) for digest, descriptor in descriptors.items()]
        return sorted(found, key=lambda image: (not image.names, image.names, image.descriptor.digest))

    def resolve(self, text: str) -> Image:
        """The image that a name, NAME@DIGEST, an id or the beginning of one means. Raises Missing."""
        images = self.images()
        if (found := self._by_name(images, text)) or (found := self._by_id(images, text)):
            return found
        raise Missing(f"no such image: {text}")

    def tag(self, image: Image, reference: Reference) -> None:
        """Give an image one more name, which another may lose."""
        self._add_entry(layout.with_name(image.descriptor, str(reference), {}))

    def untag(self, name: str) -> None:
        """Take a complete name from its image, which stays, nameless, if it was the last."""
        self._edit(lambda entries: layout.drop_name(entries, name))

    def remove(self, image: Image) -> None:
        """Forget an image and all its names. What it alone used goes with the next collect()."""
        digest = str(image.descriptor.digest)
        self._edit(lambda entries: [entry for entry in entries if entry.get("digest") != digest])

    def collect(self, in_use: Callable[[], set[str]], *, clear_cache: bool = False) -> int | None:
        """Remove what killed processes left, and what neither images nor the cache need, nor the layers `in_use`.

        Those are asked for when nobody can add any more: what was added a moment ago may be a container's already.
        The bytes freed, packed; None if somebody is adding just now, and nothing was done.
        """
        with locked_if_free(f"{self._locks}/use") as free:
            if not free:
                return None
            if clear_cache:
                self.cache.clear()
            blobs, diff_ids = self._needed()
            freed = sum(self._blobs.delete(digest) for digest in list(self._blobs.all()) if str(digest) not in blobs)
            self._layers.collect(diff_ids, in_use())
            return freed + self._blobs.delete_partials()

    def _needed(self) -> tuple[set[str], list[list[Digest]]]:
        """Digests of blobs, diff ids of layers: of images, of the cache, and of what others put into the layout."""
        index = layout.read_index(self.directory)
        blobs = {str(entry.get("digest")) for entry in index.raw.get("manifests") or []}
        diff_ids: list[list[Digest]] = []
        for entry in index.manifests:
            self._keep(entry, blobs, diff_ids)
        for digest, diff_id in self.cache.layers():
            blobs.add(str(digest))
            diff_ids.append([diff_id])
        return blobs, diff_ids

    def _keep(self, entry: Descriptor, blobs: set[str], diff_ids: list[list[Digest]]) -> None:
        """Add what a manifest or an index needs, as far as it is here."""
        blobs.add(str(entry.digest))
        try:
            document = parse_document(self.read_document(entry), entry.media_type)
            if isinstance(document, Index):
                for child in document.manifests:
                    self._keep(child, blobs, diff_ids)
                return
            blobs.update(str(blob.digest) for blob in (document.config, *document.layers))
            diff_ids.append(parse_config(self.read_document(document.config)).diff_ids)
        except (Corrupt, Missing):  # its owner may fetch it again
            return

    def _by_name(self, images: list[Image], text: str) -> Image | None:
        try:
            reference = parse_reference(text)
        except ImageError:
            return None
        for image in images:
            if str(reference) in image.names:
                return image
        if reference.digest is None:
            return None
        for image in images:
            if image.descriptor.digest == reference.digest and any(
                parse_reference(name).name == reference.name for name in image.names
            ):
                return image
        return None

    def _by_id(self, images: list[Image], text: str) -> Image | None:
        digits = text.removeprefix("sha256:").removeprefix("sha512:")
        if len(digits) < _FEWEST_ID_DIGITS:
            return None
        found = {}
        for image in images:
            if image.descriptor.digest.hex == digits:
                return image
            if _id_or_none(image).startswith(digits):
                found[_id_or_none(image)] = image
        if len(found) > 1:
            raise Missing(f"{text} is the beginning of more than one image's id")
        return next(iter(found.values()), None)

    def _add_entry(self, entry: Json) -> None:
        self._edit(lambda entries: layout.add_entry(entries, entry))

    def _edit(self, change: layout.Change) -> None:
        with self._index_locked():
            index = layout.read_index(self.directory)
            layout.write_entries(self.directory, index, change(index.raw.get("manifests") or []))

    @contextmanager
    def _index_locked(self) -> Iterator[None]:
        with locked(f"{self._locks}/index"):
            yield


def _id_or_none(image: Image) -> str:
    try:
        return image.id.hex
    except (Missing, Corrupt):
        return ""
