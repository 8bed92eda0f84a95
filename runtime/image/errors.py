"""What goes wrong with images, as a refusal for the person at the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import Refusal


class ImageError(Refusal):
    """An image can't be had, read or made; 1 is the status with which Docker's image commands fail."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message, status)


class Corrupt(ImageError):
    """Bytes aren't what their descriptor promised: wrong digest, wrong size, or not the format they claim."""


class Missing(ImageError):
    """There is no such image, or a blob of it isn't here."""


@contextmanager
def concerning(what: str) -> Iterator[None]:
    """Let what is wrong be told of `what`."""
    try:
        yield
    except (Corrupt, Missing) as error:
        raise type(error)(f"{what}: {error}") from None
