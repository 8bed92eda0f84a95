"""One image of the store: its names, and its documents read when asked for."""

from typing import TYPE_CHECKING

from runtime.image.digest import Digest, chain_ids
from runtime.image.errors import Corrupt
from runtime.image.media import Descriptor, ImageConfig, Manifest, parse_config, parse_document
from runtime.image.reference import parse_reference

if TYPE_CHECKING:
    from runtime.image.store.store import ImageStore


class Image:
    """An image by its manifest. Its methods raise Missing and Corrupt."""

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
            document = parse_document(self._store.read_document(self.descriptor), self.descriptor.media_type)
            if not isinstance(document, Manifest):
                raise Corrupt(f"{self.descriptor.digest} is an index, not an image")
            self._manifest = document
        return self._manifest

    def config(self) -> ImageConfig:
        if self._config is None:
            manifest = self.manifest()
            config = parse_config(self._store.read_document(manifest.config))
            if len(config.diff_ids) != len(manifest.layers):
                raise Corrupt(
                    f"image {self.descriptor.digest}: its manifest has {len(manifest.layers)} layers, "
                    f"its configuration {len(config.diff_ids)}"
                )
            self._config = config
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
