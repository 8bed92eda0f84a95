"""Pushing: what the registry hasn't got, several blobs at a time, and the manifest when all of them are there."""

from functools import partial

from runtime.image.digest import Digest
from runtime.image.errors import ImageError
from runtime.image.media import Descriptor
from runtime.image.reference import Reference, parse_reference
from runtime.image.registry.crew import Crew
from runtime.image.registry.progress import Progress
from runtime.image.registry.registries import Registries
from runtime.image.registry.repository import Repository
from runtime.image.registry.upload import send
from runtime.image.store import Image, ImageStore

_UPLOADS = 4


def push(
    store: ImageStore, registries: Registries, image: Image, reference: Reference, progress: Progress
) -> Descriptor:
    """Have `image` in a registry under `reference`; its manifest. Raises ImageError."""
    if reference.digest not in (None, image.descriptor.digest):
        raise ImageError(f"{reference.familiar}: the image has another digest, {image.descriptor.digest}")
    target = registries.target(reference)
    registries.transport.stopped.clear()
    progress.say(f"The push refers to repository [{reference.name}]")
    manifest = image.manifest()
    document = store.read_document(image.descriptor)
    with store.adding():  # nothing is collected meanwhile
        elsewhere = _elsewhere(store, reference)
        crew = Crew({"upload": _UPLOADS}, registries.transport.stopped.set)
        for blob in {blob.digest: blob for blob in (*manifest.layers, manifest.config)}.values():
            crew.add("upload", partial(_send, target, store, blob, elsewhere.get(blob.digest, ""), progress))
        try:
            crew.run()
        finally:
            progress.close()
    wanted = reference.tag or str(image.descriptor.digest)
    target.put_manifest(wanted, image.descriptor, document)
    progress.say(f"{wanted}: digest: {image.descriptor.digest} size: {image.descriptor.size}")
    return image.descriptor


def _send(target: Repository, store: ImageStore, blob: Descriptor, mount_from: str, progress: Progress) -> None:
    part = blob.digest.short
    progress.state(part, "Preparing")
    done = send(target, store, blob, mount_from, lambda sent: progress.bytes(part, "Pushing", sent, blob.size))
    progress.state(part, done)


def _elsewhere(store: ImageStore, reference: Reference) -> dict[Digest, str]:
    """For each blob, another repository of the same registry that should have it, going by the names here."""
    found: dict[Digest, str] = {}
    for image in store.images():
        try:
            names = [parse_reference(name) for name in image.names]
            paths = [name.path for name in names if name.domain == reference.domain and name.path != reference.path]
            if not paths:
                continue
            found.update({blob.digest: paths[0] for blob in (*image.manifest().layers, image.manifest().config)})
        except ImageError:  # damaged, or a name that others gave it in the layout
            continue
    return found
