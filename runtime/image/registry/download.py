"""A blob from a registry into the store: verified while it streams, resumed where it broke off."""

from collections.abc import Callable

from runtime.image.errors import Corrupt
from runtime.image.media import Descriptor
from runtime.image.registry.answer import Answer
from runtime.image.registry.errors import Mismatch, Unreachable
from runtime.image.registry.repository import Repository
from runtime.image.store import ImageStore
from runtime.image.store.blobs import BlobWriter

_WORTH_BYTES = 1 << 16
"""An attempt that brought so much counts as success: the next one starts with full patience."""

Report = Callable[[int], None]


def fetch(repository: Repository, store: ImageStore, blob: Descriptor, report: Report) -> bool:
    """Have `blob` in the store; whether it had to be fetched. `report` hears how many bytes are there.

    Raises Unreachable (what came is kept, for another attempt), Mismatch, and what Repository.blob() raises.
    """
    with store.write_blob(blob.digest, blob.size) as writer:
        if writer.finished:
            return False
        resumed = writer.offset > 0
        _complete(repository, writer, blob, report)
        try:
            writer.commit()
        except Corrupt as error:
            if not resumed:
                raise _mismatch(repository, error) from None
            # what an earlier attempt left may be the culprit; commit() has dropped it
            _complete(repository, writer, blob, report)
            _commit(repository, writer)
    return True


def _commit(repository: Repository, writer: BlobWriter) -> None:
    try:
        writer.commit()
    except Corrupt as error:
        raise _mismatch(repository, error) from None


def _complete(repository: Repository, writer: BlobWriter, blob: Descriptor, report: Report) -> None:
    """Stream until all bytes are there, whatever they are."""
    attempt = 0
    while writer.offset < blob.size or blob.size == 0:
        before = writer.offset
        try:
            _stream(repository, writer, blob, report)
            if blob.size == 0:
                return
        except Unreachable as error:
            attempt = 1 if writer.offset - before >= _WORTH_BYTES else attempt + 1
            if attempt >= repository.transport.patience.attempts:
                raise Unreachable(f"blob {blob.digest}: {error} ({attempt} attempts)") from None
            repository.transport.pause(attempt, str(error))


def _stream(repository: Repository, writer: BlobWriter, blob: Descriptor, report: Report) -> None:
    answer = repository.blob(blob.digest, writer.offset)
    try:
        if not _fits(answer, writer.offset):
            writer.restart()
            if answer.status != 200:
                raise Unreachable(f"registry {repository.endpoint.host}: it can't go on where it broke off")
        _check_length(repository, answer, writer.offset, blob)
        while data := answer.read():
            repository.transport.check_stopped()
            try:
                writer.write(data)
            except Corrupt as error:
                raise _mismatch(repository, error) from None
            report(writer.offset)
    finally:
        answer.close()
    if writer.offset < blob.size:
        raise Unreachable(f"registry {repository.endpoint.host}: the connection was cut")


def _fits(answer: Answer, offset: int) -> bool:
    """Whether its body goes on at `offset`."""
    if answer.status == 206:
        return answer.header("Content-Range").startswith(f"bytes {offset}-")
    return answer.status == 200 and offset == 0


def _check_length(repository: Repository, answer: Answer, offset: int, blob: Descriptor) -> None:
    length = answer.header("Content-Length")
    if length.isdecimal() and offset + int(length) != blob.size:
        total = offset + int(length)
        error = f"blob {blob.digest}: it has {total} bytes and should have {blob.size}"
        raise _mismatch(repository, Corrupt(error))


def _mismatch(repository: Repository, error: Corrupt) -> Mismatch:
    return Mismatch(f"registry {repository.endpoint.host}: {error}: it is damaged there; push or pull it again")
