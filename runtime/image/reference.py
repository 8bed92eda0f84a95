"""Names of images, in Docker's grammar: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

What people leave out is filled in as Docker does: `debian` is docker.io/library/debian:latest.
"""

import re
from typing import NamedTuple

from runtime.image.digest import Digest, parse_digest
from runtime.image.errors import Corrupt, ImageError

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_OTHER_NAMES_OF_DEFAULT = ("index.docker.io", "registry-1.docker.io")
_MOST_LETTERS = 255

_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_BARE_DIGEST = re.compile(r"[0-9a-f]{64}")


class Reference(NamedTuple):
    """One image's name, complete. Make one with parse_reference()."""

    domain: str
    path: str
    tag: str
    """Empty if there is a digest and no tag was given."""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Domain and path."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """Domain and path as people write them: without what goes without saying."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_OFFICIAL)
        return rest if "/" not in rest else self.path

    @property
    def familiar(self) -> str:
        """All of it, as people write it."""
        return self.familiar_name + self._suffix

    @property
    def wanted(self) -> str:
        """What a registry is asked for under the path: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag

    def __str__(self) -> str:
        return self.name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """The image that `text` names. Raises ImageError, which says what is wrong with it."""
    rest, at, digest = text.partition("@")
    rest, tag = _split_tag(rest)
    domain, path = _split_domain(rest)
    _check(text, domain, path, tag)
    if tag is None:
        tag = "" if at else DEFAULT_TAG
    try:
        return Reference(domain, path, tag, parse_digest(digest) if at else None)
    except Corrupt as error:
        raise ImageError(f"invalid image name {text!r}: {error}") from None


def parse_name(text: str) -> Reference:
    """A name to give to an image: what its digest is isn't anybody's choice. Raises ImageError."""
    reference = parse_reference(text)
    if reference.digest:
        raise ImageError(f"invalid image name {text!r}: a digest can't be given to an image")
    return reference


def _split_tag(text: str) -> tuple[str, str | None]:
    head, slash, tail = text.rpartition("/")
    last, colon, tag = tail.partition(":")
    return head + slash + last, tag if colon else None


def _split_domain(text: str) -> tuple[str, str]:
    """A first component is a host if it couldn't be a path's: it has a dot, a colon or a capital, or is localhost."""
    first, slash, rest = text.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost" or first.lower() != first):
        domain, path = DEFAULT_DOMAIN, text
    else:
        domain, path = first, rest
    if domain in _OTHER_NAMES_OF_DEFAULT:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and path and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _check(text: str, domain: str, path: str, tag: str | None) -> None:
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        raise ImageError(f"invalid image name {text!r}: it must be lower case")
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path):
        raise ImageError(f"invalid image name {text!r}: it isn't of the form [HOST[:PORT]/]PATH[:TAG][@DIGEST]")
    if len(domain) + 1 + len(path) > _MOST_LETTERS:
        raise ImageError(f"invalid image name {text!r}: it has more than {_MOST_LETTERS} letters")
    if _BARE_DIGEST.fullmatch(path.removeprefix(_OFFICIAL)):
        raise ImageError(f"invalid image name {text!r}: 64 hexadecimal digits are an id, not a name")
    if tag is not None and not _TAG.fullmatch(tag):
        raise ImageError(f"invalid image name {text!r}: {tag!r} can't be a tag")
