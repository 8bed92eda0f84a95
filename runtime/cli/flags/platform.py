"""The option --platform, of the verbs that take images."""

from runtime.cli.options import Parsed
from runtime.image.platform import Platform, parse_platform


def read(options: Parsed) -> Platform | None:
    """None: it isn't given. Raises ImageError."""
    text = options.one("platform")
    return parse_platform(text) if text else None
