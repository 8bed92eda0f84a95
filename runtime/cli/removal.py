"""The verbs that remove images: `rmi` and `prune`."""

import sys
from functools import partial
from typing import NamedTuple

from runtime.cli.image_filters import read_image_filters
from runtime.cli.images import complete, open_store
from runtime.cli.options import FORCE, Option, Parsed, confirm, verb
from runtime.container.store import Store
from runtime.errors import Refusal
from runtime.image.errors import ImageError, Missing
from runtime.image.reference import parse_reference
from runtime.image.store import Image, ImageStore
from runtime.places import Places
from runtime.sizes import size_text

_RMI = (Option("force", "remove all names of an image; don't complain if there is none", "f"),)
PRUNE = (
    Option("all", "images that no container uses, too", "a"),
    Option("filter", "of the images: label=, label!= or until=", "", "KEY=VALUE"),
    FORCE,
)


class _User(NamedTuple):
    """A container."""

    name: str
    image_id: str
    layers: list[str]
    running: bool


@verb("rmi", "IMAGE [IMAGE...]", "Remove names of images, and images without any.", _RMI, least=1)
def rmi(options: Parsed, places: Places) -> int:
    """`pyunion rmi`: 1 if one of the images could not be removed. Raises UsageError."""
    store, users = open_store(places), _users(places)
    status = removed = 0
    for text in options.words:
        try:
            _remove(store, users, text, force=options.on("force"))
            removed += 1
        except ImageError as error:
            if not (options.on("force") and isinstance(error, Missing)):
                print(f"pyunion rmi: {error}", file=sys.stderr)
                status = 1
    if removed:
        store.collect(partial(_layers_in_use, places))
    return status


@verb("prune", "", "Remove what no image and no container needs.", PRUNE, most=0)
def prune(options: Parsed, places: Places) -> int:
    """`pyunion prune`: what killed processes left, images without a name, what builds remember, what no image has."""
    confirm(options, f"remove all images {'that no container uses' if options.on('all') else 'without a name'}")
    print(f"Total reclaimed space: {size_text(prune_images(options, places))}")
    return 0


def prune_images(options: Parsed, places: Places) -> int:
    """Do it: the bytes freed. Raises Refusal."""
    store = open_store(places)
    users = _users(places)
    wanted = read_image_filters(options.many("filter"), store, ("label", "label!", "until"))
    for image in store.images():
        if (not image.names or options.on("all")) and _is_idle(image, users) and wanted(image, None):
            store.remove(image)
            print(f"Deleted: {_identity(image)}")
    return prune_cache(places)


def prune_cache(places: Places) -> int:
    """Remove what builds remember, and what no image and no container needs: the bytes freed. Raises Refusal."""
    from runtime.build.workspace import sweep

    sweep(places)
    freed = open_store(places).collect(partial(_layers_in_use, places), clear_cache=True)
    if freed is None:
        raise Refusal("images are being added just now: try again when that is done", status=1)
    return freed


def _remove(store: ImageStore, users: list[_User], text: str, *, force: bool) -> None:
    """By a name: that name, and the image if it was the last. By an id: the image, if its names are of one repository.

    Raises ImageError.
    """
    image = store.resolve(text)
    names = [name for name in image.names if name == complete(text)]
    if names and len(image.names) > 1:
        store.untag(names[0])
        print(f"Untagged: {parse_reference(names[0]).familiar}")
        return
    if len({parse_reference(name).name for name in image.names}) > 1 and not force:
        raise ImageError(f"image {text} has names in several repositories: remove those, or use --force")
    for user in users:
        if user.image_id == _identity(image) and (user.running or not force):
            raise ImageError(f"image {text} is in use by {'running ' * user.running}container {user.name}")
    store.remove(image)
    for name in image.familiar_names():
        print(f"Untagged: {name}")
    print(f"Deleted: {_identity(image)}")


def _layers_in_use(places: Places) -> set[str]:
    return {layer for user in _users(places) for layer in user.layers}


def _is_idle(image: Image, users: list[_User]) -> bool:
    return all(user.image_id != _identity(image) for user in users)


def _identity(image: Image) -> str:
    """Its id; of a damaged image the digest of its manifest, which is an id as well."""
    try:
        return str(image.id)
    except ImageError:
        return str(image.descriptor.digest)


def _users(places: Places) -> list[_User]:
    users = []
    for container in Store(places).all():
        try:
            config, running = container.config(), container.state()["status"] == "running"
        except FileNotFoundError:  # removed meanwhile
            continue
        layers = [*config.layers, *(layer for volume in config.volumes for layer in volume.layers)]
        users.append(_User(config.name, config.image_id, layers, running))
    return users
