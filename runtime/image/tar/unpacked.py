"""What unpacking leaves to be done."""

from typing import NamedTuple


class Unpacked(NamedTuple):
    """What a layer doesn't hold itself and needs the ones below for."""

    implied: list[bytes]
    """Directories of which it has the content, not the attributes; the root is b""."""
    links: list[tuple[bytes, bytes]]
    """(name, target) of hard links to files of lower layers."""
    members: int
    whiteouts: int = 0
    """Those of directories, which make them opaque, included."""

    @property
    def directories(self) -> list[bytes]:
        """`implied` without the root."""
        return [path for path in self.implied if path]
