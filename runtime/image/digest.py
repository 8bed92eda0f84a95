"""Content addresses, and the proof that content has its own.

A digest becomes part of a path, so none exists that wasn't checked against the grammar: image-spec, descriptor.md.
"""

import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runtime.image.errors import Corrupt

if TYPE_CHECKING:
    from hashlib import _Hash

_HEX_DIGITS = {"sha256": 64, "sha512": 128}
_LOWER_HEX = frozenset("0123456789abcdef")
_OWN_SHA256 = "_sha256" if sys.version_info < (3, 12) else "_sha2"


class Source(Protocol):
    """Where bytes come from: b"" at the end, fewer than asked for at any time."""

    def read(self, size: int, /) -> bytes: ...


class Digest(NamedTuple):
    """An algorithm and its result in lower-case hexadecimal. Make one with parse_digest() or of(), never by hand."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The twelve digits that people read."""
        return self.hex[:12]


class Verifier:
    """Counts and hashes what passes, and says in the end whether it was what `digest` and `size` promise."""

    def __init__(self, digest: Digest, size: int | None = None, *, small: bool = False) -> None:
        """`small`: it is a document, not a layer."""
        self.digest = digest
        self.size = size
        self.seen = 0
        self._hash = _new_hash(digest.algorithm, small=small)

    def update(self, data: bytes) -> None:
        """Raises Corrupt as soon as there is more than was promised."""
        self.seen += len(data)
        if self.size is not None and self.seen > self.size:
            raise Corrupt(f"blob {self.digest}: it has more than the {self.size} bytes it should have")
        self._hash.update(data)

    def finish(self) -> None:
        """Raises Corrupt: size first, then digest."""
        if self.size is not None and self.seen != self.size:
            raise Corrupt(f"blob {self.digest}: it has {self.seen} bytes and should have {self.size}")
        found = self._hash.hexdigest()
        if found != self.digest.hex:
            raise Corrupt(f"blob {self.digest}: its content has the digest {self.digest.algorithm}:{found}")


def verify(data: bytes, digest: Digest, size: int | None = None) -> None:
    """Raises Corrupt: the document `data` isn't what `digest` and `size` promise."""
    verifier = Verifier(digest, size, small=True)
    verifier.update(data)
    verifier.finish()


def parse_digest(text: object) -> Digest:
    """Raises Corrupt: anything but a known algorithm and as many lower-case digits as it has."""
    if isinstance(text, str):
        algorithm, _, digits = text.partition(":")
        if len(digits) == _HEX_DIGITS.get(algorithm) and _LOWER_HEX.issuperset(digits):
            return Digest(algorithm, digits)
    raise Corrupt(f"invalid digest {text!r}: sha256 or sha512 with lower-case hexadecimal digits makes one")


def of(data: bytes) -> Digest:
    """The digest that the document `data` gets from us."""
    hashed = _new_hash("sha256", small=True)
    hashed.update(data)
    return Digest("sha256", hashed.hexdigest())


def _new_hash(algorithm: str, *, small: bool) -> "_Hash":
    """Python's own for what is small, as module random has it: hashlib brings OpenSSL, which a container's start would
    wait 2 ms for."""
    if small and algorithm == "sha256":
        try:
            hashed: _Hash = __import__(_OWN_SHA256).sha256()
            return hashed
        except ImportError:  # this Python was built without
            pass
    import hashlib

    return hashlib.new(algorithm)


def chain_ids(diff_ids: list[Digest]) -> list[Digest]:
    """Of each layer, what names it together with those below: image-spec, config.md, "Layer ChainID"."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
