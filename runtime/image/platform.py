"""Platforms of images (`OS/ARCHITECTURE[/VARIANT]`, in Go's words) and the choice of one from an index."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from runtime.image.errors import ImageError

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "armv7l": "arm",
    "armv6l": "arm", "i386": "386", "i486": "386", "i586": "386", "i686": "386", "loongarch64": "loong64",
}
_VARIANTS = {"armel": "v6", "armv6l": "v6"}
_OLDER_ARM = {"v8": ("v8", "v7", "v6", "v5"), "v7": ("v7", "v6", "v5"), "v6": ("v6", "v5"), "v5": ("v5",)}
_T = TypeVar("_T")


class Platform(NamedTuple):
    """What an image runs on, normalised: no variant means the usual one."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))


def normal(system: str, architecture: str, variant: str = "") -> Platform:
    """The platform that these words, of which some are synonyms, mean."""
    system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
    variant = variant or _VARIANTS.get(architecture, "")
    architecture = _ARCHITECTURES.get(architecture, architecture)
    if architecture == "arm":
        variant = variant or "v7"
        variant = variant if variant.startswith("v") else f"v{variant}"
    if (architecture, variant) in (("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")):
        variant = ""
    return Platform(system, architecture, variant)


def parse_platform(text: str) -> Platform:
    """`OS/ARCHITECTURE[/VARIANT]`, or one of the first two alone. Raises ImageError."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(part.replace("_", "").replace("-", "").isalnum() for part in parts):
        raise ImageError(f"invalid platform {text!r}: it isn't of the form OS/ARCHITECTURE[/VARIANT]")
    here = this_machine()
    if len(parts) == 1:
        return normal(parts[0], here.architecture, here.variant) if parts[0] == "linux" else normal("linux", parts[0])
    return normal(*parts)


def this_machine() -> Platform:
    """The platform of the running kernel."""
    return normal("linux", os.uname().machine)


def choose(wanted: Platform, offers: Sequence[tuple[Platform | None, _T]]) -> _T | None:
    """The first offer that runs on `wanted`; on arm the newest variant that does. Offers of no platform come last."""
    for acceptable in _acceptable(wanted):
        for platform, offer in offers:
            if platform == acceptable:
                return offer
    return next((offer for platform, offer in offers if platform is None), None)


def _acceptable(wanted: Platform) -> list[Platform]:
    if wanted.architecture == "arm":
        return [wanted._replace(variant=variant) for variant in _OLDER_ARM.get(wanted.variant, (wanted.variant,))]
    return [wanted] if not wanted.variant else [wanted, wanted._replace(variant="")]
