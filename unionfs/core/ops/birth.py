"""The verb on the time of birth, which is no part of stat(2)."""

from unionfs.core import objects
from unionfs.core.inodes import Node
from unionfs.core.union import Union
from unionfs.linux import fsops


def birth_ns(union: Union, node: Node) -> int | None:
    """When the object that holds the metadata of `node` was made, in nanoseconds since 1970; None: it isn't kept.

    Copy-up makes a new object, as with kernel overlayfs.
    """
    place = objects.locate(union, node)
    return fsops.birth_ns(place.dirfd, place.name)
