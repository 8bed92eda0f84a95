"""An image by name, or where it is outside of the store: taken in if it isn't here."""

import os
from typing import Literal

from runtime.image.errors import ImageError, Missing
from runtime.image.platform import Platform, choose
from runtime.image.reference import parse_reference
from runtime.image.store import Image, ImageStore

_TRANSPORTS = ("oci:", "oci-archive:", "docker-archive:")


def obtain(
    store: ImageStore,
    name: str,
    platform: Platform | None,
    pull: Literal["always", "missing", "never"],
    *,
    quiet: bool = False,
) -> Image:
    """The image `name`, for `platform` if one is asked for; `quiet`: its pull isn't told of. Raises ImageError."""
    if is_elsewhere(name):
        images = load_from(store, name, platform)
        if len(images) > 1:
            raise ImageError(f"{name}: there are {len(images)} images in it: say which, as {name}:NAME")
        return images[0]
    if pull != "always":
        try:
            image = store.resolve(name)
            if platform is None or _runs_on(image, platform):
                return image
            raise Missing(f"image {name} is here for {image.config().platform}, not for {platform}")
        except Missing:
            if pull == "never":
                raise
    from runtime.image.registry.progress import make_progress
    from runtime.image.registry.pull import pull as fetch
    from runtime.image.registry.registries import Access, Registries

    return fetch(store, Registries(Access()), parse_reference(name), make_progress(quiet), platform)


def _runs_on(image: Image, platform: Platform) -> bool:
    """Many configurations leave the variant out, that was in the index."""
    config = image.config()
    if not config.raw.get("variant"):
        return config.platform[:2] == platform[:2]
    return choose(platform, [(config.platform, image)]) is not None


def is_elsewhere(name: str) -> bool:
    """Whether `name` tells a place: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`."""
    return name.startswith(_TRANSPORTS) and not name.endswith(":")


def load_from(store: ImageStore, place: str, platform: Platform | None) -> list[Image]:
    """The images at such a place; a path may have colons if what it names is there. Raises ImageError, OSError."""
    from runtime.image.archive.load import Wanted, load

    text = place.partition(":")[2]
    path, _, name = (text, "", "") if os.path.exists(text) else text.partition(":")
    while not os.path.exists(path) and ":" in name:
        more, _, name = name.partition(":")
        path = f"{path}:{more}"
    return load(store, path, Wanted(name, platform))
