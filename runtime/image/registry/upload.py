"""A blob from the store to a registry: taken over from a repository it has, or sent in pieces and resumed."""

from collections.abc import Iterator
from typing import BinaryIO

from runtime.image.media import Descriptor
from runtime.image.registry.answer import Answer
from runtime.image.registry.download import Report
from runtime.image.registry.errors import RegistryError, Unreachable
from runtime.image.registry.repository import Repository, Upload
from runtime.image.store import ImageStore

_PIECE_BYTES = 1 << 20
_LOST = (404, 410, 416)
"""The registry knows nothing of this upload, or not of this place in it."""


def send(repository: Repository, store: ImageStore, blob: Descriptor, mount_from: str, report: Report) -> str:
    """Have `blob` in the repository; what was done for it, in a word or two. `report` hears how many bytes are through.

    Raises what Repository's methods raise.
    """
    if repository.has_blob(blob.digest):
        return "Layer already exists"
    upload = _begin(repository, blob, mount_from)
    if upload is None:
        return f"Mounted from {mount_from}"
    with store.open_blob(blob.digest) as file:
        _Sending(repository, file, blob, upload, report).run()
    return "Pushed"


def _begin(repository: Repository, blob: Descriptor, mount_from: str) -> Upload | None:
    """A mount is a favour: whatever hinders it, sending is still possible."""
    if mount_from:
        try:
            return repository.start_upload(blob.digest, mount_from)
        except Unreachable:
            raise
        except RegistryError:
            pass
    return repository.start_upload(blob.digest)


class _Sending:
    """One upload: as many PATCH as it takes, then PUT. distribution-spec, "Pushing a blob in chunks"."""

    def __init__(
        self, repository: Repository, file: BinaryIO, blob: Descriptor, upload: Upload, report: Report
    ) -> None:
        self._repository = repository
        self._file = file
        self._blob = blob
        self._upload: Upload | None = upload
        self._report = report
        self._offset = 0
        self._furthest = 0

    def run(self) -> None:
        attempt = 0
        while True:
            before = self._furthest
            try:
                if self._step():
                    return
                attempt = attempt if self._furthest == before else 0
            except Unreachable as error:
                attempt += 1
                if attempt >= self._repository.transport.patience.attempts:
                    raise Unreachable(f"upload of {self._blob.digest}: {error} ({attempt} attempts)") from None
                self._repository.transport.pause(attempt, str(error))
                self._find_place()

    def _step(self) -> bool:
        """One request; whether it was the last. Raises Unreachable: find out how far it went."""
        if self._upload is None:
            self._upload, self._offset = self._repository.start_upload(self._blob.digest), 0
            return self._upload is None
        if self._offset < self._blob.size:
            self._patch(self._upload)
            return False
        self._put(self._upload)
        return True

    def _patch(self, upload: Upload) -> None:
        end = min(self._offset + upload.chunk_bytes, self._blob.size)
        start = self._offset
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Content-Range": f"{start}-{end - 1}",
        }
        answer = self._repository.upload_call("PATCH", upload.url, headers, lambda: self._pieces(start, end))
        self._expect(answer, 202, 201, 204)
        self._upload = upload._replace(url=self._repository.next_url(answer))
        self._offset = end
        self._furthest = max(self._furthest, end)

    def _put(self, upload: Upload) -> None:
        """`digest` is added to whatever query the address has."""
        url = f"{upload.url}{'&' if '?' in upload.url else '?'}digest={self._blob.digest}"
        self._expect(self._repository.upload_call("PUT", url, {"Content-Length": "0"}), 201, 204)

    def _expect(self, answer: Answer, *statuses: int) -> None:
        if answer.status in statuses:
            answer.close()
            return
        if answer.status in _LOST:
            answer.close()
            raise Unreachable(f"registry {self._repository.endpoint.host}: it lost the upload")
        self._repository.refuse(answer, f"upload of {self._blob.digest}")

    def _find_place(self) -> None:
        """Ask how far the upload is; begin a new one if the registry doesn't know."""
        upload, self._upload = self._upload, None
        if upload is None:
            return
        try:
            answer = self._repository.upload_call("GET", upload.url, {})
        except Unreachable:
            return
        answer.close()
        place = _end_of(answer.header("Range"))
        if answer.status in (200, 202, 204) and place is not None and place <= self._blob.size:
            url = self._repository.next_url(answer) if answer.header("Location") else upload.url
            self._upload, self._offset = upload._replace(url=url), place

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        self._file.seek(start)
        while start < end:
            self._repository.transport.check_stopped()
            data = self._file.read(min(_PIECE_BYTES, end - start))
            if not data:
                raise RegistryError(f"blob {self._blob.digest} of the store has become shorter")
            start += len(data)
            yield data
            self._report(start)


def _end_of(text: str) -> int | None:
    """How many bytes a Range `0-LAST` stands for. `0-0` is what distribution answers when it has none at all."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    if first != "0" or not last.isdecimal():
        return None
    return int(last) + 1 if last != "0" else 0
