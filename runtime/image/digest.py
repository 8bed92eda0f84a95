"""Content addresses, and streams that prove theirs.

A digest becomes part of a path, so none exists that wasn't checked against the grammar: image-spec, descriptor.md.
"""

from typing import NamedTuple, Protocol

from runtime.image.errors import Corrupt

_HEX_DIGITS = {"sha256": 64, "sha512": 128}
_LOWER_HEX = frozenset("0123456789abcdef")


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

    def __init__(self, digest: Digest, size: int | None = None) -> None:
        self.digest = digest
        self.size = size
        self.seen = 0
        import hashlib  # 4 ms, which who only names an image doesn't pay

        self._hash = hashlib.new(digest.algorithm)

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


class VerifyingReader:
    """`source`, checked while it is read: the end is only reported if all that came was what was promised."""

    def __init__(self, source: Source, digest: Digest, size: int | None = None) -> None:
        self._source = source
        self._verifier = Verifier(digest, size)

    def read(self, size: int, /) -> bytes:
        """Raises Corrupt, and what `source` raises."""
        data = self._source.read(size)
        if data:
            self._verifier.update(data)
        elif size:
            self._verifier.finish()
        return data


def parse_digest(text: object) -> Digest:
    """Raises Corrupt: anything but a known algorithm and as many lower-case digits as it has."""
    if isinstance(text, str):
        algorithm, _, digits = text.partition(":")
        if len(digits) == _HEX_DIGITS.get(algorithm) and _LOWER_HEX.issuperset(digits):
            return Digest(algorithm, digits)
    raise Corrupt(f"invalid digest {text!r}: sha256 or sha512 with lower-case hexadecimal digits makes one")


def of(data: bytes) -> Digest:
    """The digest that `data` gets from us."""
    import hashlib

    return Digest("sha256", hashlib.sha256(data).hexdigest())


def chain_ids(diff_ids: list[Digest]) -> list[Digest]:
    """Of each layer, what names it together with those below: image-spec, config.md, "Layer ChainID"."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
