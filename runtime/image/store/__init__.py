"""The image store: an OCI image layout on disk, and the unpacked layers beside it.

    ROOT/images/            the layout: oci-layout, index.json, blobs/; skopeo and umoci read it as it lies
    ROOT/layers/            see layers.py
    ROOT/partial/           blobs on their way in
    ROOT/cache/             which step of a build made which layer, see cache.py
    ROOT/locks/             index: held while index.json changes; use: shared by those who add, alone by who collects
"""

from runtime.image.store.images import Image
from runtime.image.store.store import ImageStore

__all__ = ["Image", "ImageStore"]
