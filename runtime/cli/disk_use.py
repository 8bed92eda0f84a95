"""The verb `system df`: what takes how much room, and how much of it nothing uses."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from runtime.cli.listing import written
from runtime.cli.options import Parsed, verb
from runtime.cli.tables import FORMAT, print_rows
from runtime.cli.volumes import users_of_volumes
from runtime.container.describe import status_of
from runtime.container.named_volumes import NamedVolumes
from runtime.container.store import Store
from runtime.image.digest import Digest
from runtime.image.errors import ImageError, Missing
from runtime.image.store import Image, ImageStore
from runtime.places import Places
from runtime.sizes import size_text

_COLUMNS = (
    ("TYPE", "Type"), ("TOTAL", "TotalCount"), ("ACTIVE", "Active"), ("SIZE", "Size"), ("RECLAIMABLE", "Reclaimable"),
)  # fmt: skip


@verb("system df", "", "Show what takes how much room, and how much of it nothing uses.", (FORMAT,), most=0)
def disk_use(options: Parsed, places: Places) -> int:
    """`pyunion system df`. Raises UsageError."""
    store, images = Store(places), ImageStore(places)
    store.sweep()
    parts = {part: size for image in images.images() for part, size in _parts(image, images).items()}
    rows = [_images(store, images, parts), _containers(store), _volumes(store), _cache(images, parts)]
    print_rows(rows, _COLUMNS, options.one("format"))
    return 0


def _row(kind: str, parts: Iterable[tuple[bool, int]]) -> dict[str, Any]:
    """Of things that are in use or not, with their sizes."""
    parts = list(parts)
    size, free = sum(size for _, size in parts), sum(size for used, size in parts if not used)
    share = f" ({free * 100 // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": len(parts),
        "Active": sum(used for used, _ in parts),
        "Size": size_text(size),
        "Reclaimable": f"{size_text(free)}{share}",
    }


def _images(store: Store, images: ImageStore, parts: Mapping[str, int]) -> dict[str, Any]:
    """Blobs and unpacked layers, each counted once, and as used if an image of a container has it."""
    wanted = {container.config().image_id for container in store.all()}
    everything = images.images()
    active = [image for image in everything if _identity(image) in wanted]
    used = {part for image in active for part in _parts(image, images)}
    row = _row("Images", ((part in used, size) for part, size in parts.items()))
    return {**row, "TotalCount": len(everything), "Active": len(active)}


def _identity(image: Image) -> str:
    try:
        return str(image.id)
    except ImageError:
        return ""


def _parts(image: Image, images: ImageStore) -> dict[str, int]:
    """What an image has on disk, and its size; of a damaged one what can be found."""
    with suppress(ImageError):
        manifest, layers = image.manifest(), image.config().diff_ids
        blobs = (image.descriptor, manifest.config, *manifest.layers)
        return {str(blob.digest): blob.size for blob in blobs} | dict(_unpacked(images, layer) for layer in layers)
    return {}


def _unpacked(images: ImageStore, diff_id: Digest) -> tuple[str, int]:
    path = images.layer_path(diff_id)
    return path, written(path)


def _containers(store: Store) -> dict[str, Any]:
    states = [(status_of(one, one.state()) not in ("created", "exited"), written(one.upper)) for one in store.all()]
    return _row("Containers", states)


def _volumes(store: Store) -> dict[str, Any]:
    volumes, used = NamedVolumes(store.places), users_of_volumes(store)
    return _row("Local Volumes", ((name in used, written(volumes.path(name))) for name in volumes.names()))


def _cache(images: ImageStore, parts: Mapping[str, int]) -> dict[str, Any]:
    """What steps of builds made and no image has."""
    layers = [layer for layer in images.cache.layers() if str(layer[0]) not in parts]
    with suppress(Missing):
        return _row("Build Cache", ((False, images.blob_size(one) + _unpacked(images, two)[1]) for one, two in layers))
    return _row("Build Cache", ())
