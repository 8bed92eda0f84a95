"""What options and layers say of owners, when a union is opened: ids that are mapped, and modes kept in xattrs."""

import os
from collections.abc import Sequence

from unionfs.core import override
from unionfs.core.errors import UnionError
from unionfs.core.ids import IdMapping, Ids, overlap
from unionfs.core.layer import Layer
from unionfs.core.options import UnionOptions
from unionfs.linux import mountinfo
from unionfs.linux.at import At

_KEYS = {1: override.PRIVILEGED, 2: override.USER}


def check(options: UnionOptions) -> None:
    """Raises UnionError: a map that isn't one."""
    for name, rows in (("uidmapping", options.uid_map), ("gidmapping", options.gid_map)):
        if overlap(rows):
            raise UnionError(f"{name} maps an id twice: let no two of its ranges overlap, on either side")


def open_ids(options: UnionOptions, layers: Sequence[Layer]) -> Ids | None:
    """How the union shows owners; None: as the layers have them. Its layers are told what each has.

    Raises UnionError: the upper can't hold the xattr.
    """
    if options.uid_map or options.gid_map:
        for layer in layers:
            layer.is_id_mapped = _is_id_mapped(layer.path)
    if options.dialect != "overlay" or options.xattr_permissions:
        for layer in layers:
            layer.override = override.key_of(_root(layer))
    if options.xattr_permissions and layers[0].is_upper and not layers[0].override:
        _begin_override(layers[0], _KEYS[options.xattr_permissions])
    squashed = options.squash_uid is not None or options.squash_gid is not None
    mapped = options.uid_map or options.gid_map or squashed
    if not mapped and not any(layer.override for layer in layers):
        return None
    return Ids(
        IdMapping(options.uid_map, options.squash_uid),
        IdMapping(options.gid_map, options.squash_gid),
        key=layers[0].override if layers[0].is_upper else b"",
        upper_is_mapped=layers[0].is_upper and layers[0].is_id_mapped,
    )


def _is_id_mapped(path: bytes) -> bool:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)  # not the layer's own: a detached clone is in no list
    try:
        return mountinfo.is_id_mapped(fd)
    finally:
        os.close(fd)


def _begin_override(upper: Layer, key: bytes) -> None:
    """Let the root of `upper` say that its objects have owner and mode in `key`; those that lack it, themselves."""
    root = _root(upper)
    try:
        override.write(root, key, override.real(root.stat()))
    except OSError as error:
        raise UnionError(
            f"upper layer {os.fsdecode(upper.path)!r}: xattr_permissions needs a filesystem and a user that can set "
            f"{key.decode()}: {error.strerror}"
        ) from None
    upper.override = key


def _root(layer: Layer) -> At:
    return At(layer.root, b".")
