"""An image by name, fetched if it isn't here."""

from typing import Literal

from runtime.image.errors import Missing
from runtime.image.platform import Platform
from runtime.image.reference import parse_reference
from runtime.image.store import Image, ImageStore


def obtain(
    store: ImageStore, name: str, platform: Platform | None, pull: Literal["always", "missing", "never"]
) -> Image:
    """The image `name`, for `platform` if one is asked for. Raises ImageError."""
    if pull != "always":
        try:
            image = store.resolve(name)
            if platform is None or image.config().platform == platform:
                return image
            raise Missing(f"image {name} is here for {image.config().platform}, not for {platform}")
        except Missing:
            if pull == "never":
                raise
    from runtime.image.registry.progress import make_progress
    from runtime.image.registry.pull import pull as fetch
    from runtime.image.registry.registries import Access, Registries

    return fetch(store, Registries(Access()), parse_reference(name), make_progress(False), platform)
