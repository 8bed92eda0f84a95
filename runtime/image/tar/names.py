"""Names of members, and what the ones that begin with `.wh.` mean: image-spec, layer.md, "Whiteouts"."""

from typing import NamedTuple

from runtime.image.errors import Corrupt
from unionfs.core.dialect import WH_OPAQUE, WH_PREFIX

_MOST_BYTES = 4095
_AUFS = b".wh..wh."


class Place(NamedTuple):
    """A name in a directory of the layer; both are empty for its root."""

    directory: bytes
    """Relative to the root, without dots."""
    name: bytes

    @property
    def path(self) -> bytes:
        return self.directory + b"/" + self.name if self.directory else self.name


ROOT = Place(b"", b"")


def place_of(name: bytes) -> Place:
    """Where a member goes; a leading slash is the layer's root. Raises Corrupt: it leads out, or is too long."""
    if b"//" in name or name[:1] in (b".", b"/") or b"/." in name or b"\0" in name or name[-1:] in (b"/", b""):
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts or b"\0" in name:
            raise Corrupt(f"archive: a member's name leads out of the layer: {show(name)}")
        name = b"/".join(parts)
    if len(name) > _MOST_BYTES:
        raise Corrupt(f"archive: a member's name has {len(name)} bytes: {show(name[:40])}…")
    directory, _, last = name.rpartition(b"/")
    return Place(directory, last)


def whiteout_of(place: Place) -> bytes | None:
    """None: it is none; empty: the directory is opaque; else the name that is deleted. Raises Corrupt: neither."""
    if not place.name.startswith(WH_PREFIX):
        return None
    if place.name == WH_OPAQUE:
        return b""
    deleted = place.name[len(WH_PREFIX) :]
    if deleted in (b"", b".", b"..") or deleted.startswith(WH_PREFIX):
        raise Corrupt(f"archive: a whiteout of nothing: {show(place.path)}")
    return deleted


def is_of_aufs(place: Place) -> bool:
    """Whether it is the inner matter of aufs, which old Docker wrote and all readers skip."""
    first = place.path.partition(b"/")[0]
    return first.startswith(_AUFS) and place.path != WH_OPAQUE


def check_directories(directory: bytes) -> None:
    """Raises Corrupt if a directory has a whiteout's name."""
    if directory.startswith(WH_PREFIX) or b"/" + WH_PREFIX in directory:
        raise Corrupt(f"archive: a directory with a whiteout's name: {show(directory)}")


def show(name: bytes) -> str:
    """A name as it may be printed."""
    return ascii(name.decode("utf-8", "surrogateescape"))
