"""What comes back: a response that is read piece by piece, and what a failure means in words."""

import time
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from runtime.image.registry.errors import Mismatch, Unreachable

_MOST_TEXT_BYTES = 1 << 20


class Answer:
    """A response whose body hasn't been read yet. Close it."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, foreign: bool) -> None:
        self.status = response.status
        self.url = url
        self.foreign = foreign
        """It came, by a redirect, from another host than the one asked."""
        self._response = response

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "") or ""

    def headers(self, name: str) -> list[str]:
        return list(self._response.headers.getlist(name))

    def read(self, size: int = 1 << 18, /) -> bytes:
        """The next piece, b"" at the end. Raises Unreachable when the connection breaks."""
        try:
            return self._response.read1(size)
        except (HTTPError, OSError) as error:
            raise Unreachable(f"{urlsplit(self.url).netloc}: {reason(error)}") from None

    def read_all(self, most: int = _MOST_TEXT_BYTES) -> bytes:
        """The whole body, and close. Raises Mismatch if it is larger than `most` bytes, and Unreachable."""
        try:
            pieces, seen = [], 0
            while piece := self.read():
                seen += len(piece)
                if seen > most:
                    raise Mismatch(f"{urlsplit(self.url).netloc}: it sends more than the {most} bytes there may be")
                pieces.append(piece)
        finally:
            self.close()
        return b"".join(pieces)

    def close(self) -> None:
        """Give the connection back if the body is nearly over, otherwise drop it."""
        try:
            left = int(self.header("Content-Length") or 0) - self._response.tell()
            if 0 <= left < _MOST_TEXT_BYTES:
                self._response.drain_conn()
        except (HTTPError, OSError, ValueError):
            pass
        self._response.close()
        self._response.release_conn()


def retry_after(answer: Answer) -> float | None:
    """The seconds to wait that it asks for, with a number or a date."""
    text = answer.header("Retry-After")
    if text.isdecimal():
        return float(text)
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def reason(error: Exception) -> str:
    """In a few words; urllib3's own messages show objects and addresses."""
    if isinstance(error, NameResolutionError):
        return "there is no such host, or no name server answers"
    if isinstance(error, NewConnectionError):
        return str(error).rpartition("] ")[2].lower() or "no connection"
    if isinstance(error, ProxyError):
        return f"the proxy doesn't help: {error.original_error}"
    if isinstance(error, ReadTimeoutError | TimeoutError | urllib3.exceptions.TimeoutError):
        return "it stopped answering"
    if isinstance(error, SSLError):
        return str(error).partition("] ")[2].partition(" (_ssl")[0] or str(error)
    return "the connection was cut"
