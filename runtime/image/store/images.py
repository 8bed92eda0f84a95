"""One image of the store: its names, and its documents read when asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.image.digest import Digest, chain_ids
from runtime.image.errors import Corrupt, Missing
from runtime.image.media import Descriptor, ImageConfig, Manifest, parse_config, parse_document
from runtime.image.reference import parse_reference

if TYPE_CHECKING:
    from runtime.image.store.store import ImageStore


class Image:
    """An image by its manifest. Its methods raise Corrupt: a document of it is missing, or not what it should be."""

    def __init__(self, store: "ImageStore", descriptor: Descriptor, names: list[str]) -> None:
        self._store = store
        self.descriptor = descriptor
        """Of the manifest."""
        self.names = names
        """Complete ones, sorted; none if they went to other images."""
        self._manifest: Manifest | None = None
        self._config: ImageConfig | None = None

    def manifest(self) -> Manifest:
        if self._manifest is None:
            with self._about():
                self._manifest = self._read_manifest()
        return self._manifest

    def config(self) -> ImageConfig:
        if self._config is None:
            manifest = self.manifest()
            with self._about():
                self._config = self._read_config(manifest)
        return self._config

    @property
    def id(self) -> Digest:
        """The digest of its configuration."""
        return self.manifest().config.digest

    @property
    def size(self) -> int:
        """Bytes of its layers as they are kept, packed."""
        return sum(layer.size for layer in self.manifest().layers)

    def chain(self) -> list[Digest]:
        """Chain ids of its layers, lowest first."""
        return chain_ids(self.config().diff_ids)

    def familiar_names(self) -> list[str]:
        """Its names as people write them."""
        return [parse_reference(name).familiar for name in self.names]

    def _read_manifest(self) -> Manifest:
        document = parse_document(self._store.read_document(self.descriptor), self.descriptor.media_type)
        if not isinstance(document, Manifest):
            raise Corrupt(f"{self.descriptor.digest} is an index, not an image")
        return document

    def _read_config(self, manifest: Manifest) -> ImageConfig:
        config = parse_config(self._store.read_document(manifest.config))
        if len(config.diff_ids) != len(manifest.layers):
            raise Corrupt(
                f"its manifest has {len(manifest.layers)} layers, its configuration {len(config.diff_ids)}"
            )
        return config

    @contextmanager
    def _about(self) -> Iterator[None]:
        """Let what is wrong be told of this image."""
        try:
            yield
        except (Corrupt, Missing) as error:
            name = (self.familiar_names() or [str(self.descriptor.digest)])[0]
            raise Corrupt(f"image {name} is damaged: {error}") from None
