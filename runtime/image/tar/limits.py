"""How much an archive may ask for: what real layers never need, and what fills a disk from a few bytes."""

from typing import NamedTuple

from runtime.image.errors import Corrupt


class Limits(NamedTuple):
    """Of one layer. An instance is also the check of its expansion (streams.Expansion)."""

    members: int = 4_000_000
    unpacked_bytes: int = 1 << 40
    free_bytes: int = 4 << 30
    """Up to here the ratio doesn't matter: files full of zeros are legitimate."""
    ratio: int = 100
    """Above, how many times more than it was packed."""

    def check(self, packed: int, unpacked: int) -> None:
        """Raises Corrupt."""
        if unpacked > self.unpacked_bytes or (unpacked > self.free_bytes and unpacked > packed * self.ratio):
            raise Corrupt(f"archive: {packed} bytes grew to more than {unpacked - 1}: a decompression bomb")

    def check_members(self, count: int) -> None:
        """Raises Corrupt."""
        if count > self.members:
            raise Corrupt(f"archive: it has more than {self.members} members")


DEFAULT_LIMITS = Limits()
