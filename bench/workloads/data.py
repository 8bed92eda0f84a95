"""Bytes of large files: read, written, appended, copied up."""

import os
from pathlib import Path

from bench.mounts import Layers
from bench.stacks import large
from bench.workload import Place, Row, workload

_MIB = 1 << 20
_RANDOM_WRITES = 20_000
_RANDOM_SPAN = 128 * _MIB
_APPENDS = 20_000
_buffer = bytearray(_MIB)


@workload(
    large,
    Row("read 512 MB of a lower file, cold", 1.5, shared_aim=1.05),
    Row("read 512 MB of a lower file, warm", 1.1, shared_aim=1.05),
    shared=True,
    noisy=True,
)
def read_lower(place: Place) -> object:
    """Sequential reads of 1 MiB."""
    with place.timed("read 512 MB of a lower file, cold", cold=True):
        total = _read(place.merged / "large")
    with place.timed("read 512 MB of a lower file, warm"):
        assert _read(place.merged / "large") == total
    return total


def _large_in_upper(layers: Layers) -> None:
    os.link(layers.lowers[-1] / "large", layers.upper / "own")


@workload(
    large,
    Row("read 512 MB of an upper file, cold", 1.05),
    Row("read 512 MB of an upper file, warm", 1.05),
    prepare=_large_in_upper,
    noisy=True,
)
def read_upper(place: Place) -> object:
    """The same from a file that the upper has."""
    with place.timed("read 512 MB of an upper file, cold", cold=True):
        total = _read(place.merged / "own")
    with place.timed("read 512 MB of an upper file, warm"):
        assert _read(place.merged / "own") == total
    return total


@workload(large, Row("write 512 MB", 1.1))
def write(place: Place) -> object:
    """Sequential writes of 1 MiB to a new file, until it is closed: the data has then left the union's own cache."""
    path = place.merged / "new"
    with place.timed("write 512 MB"):
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        for _ in range(place.size(512)):
            os.write(descriptor, _buffer)
        os.close(descriptor)
    assert os.stat(place.mount.upper / "new").st_size == place.size(512) * _MIB
    return os.stat(path).st_size


@workload(large, Row("20,000 random 4 KiB writes", 1.1))
def random_writes(place: Place) -> object:
    """In a file of 128 MiB that the page cache holds, until it is closed."""
    path = place.merged / "new"
    path.write_bytes(bytes(_RANDOM_SPAN))
    offsets = [place.random.randrange(_RANDOM_SPAN // 4096) * 4096 for _ in range(place.size(_RANDOM_WRITES))]
    block = b"\1" * 4096
    with place.timed("20,000 random 4 KiB writes"):
        descriptor = os.open(path, os.O_WRONLY)
        for offset in offsets:
            os.pwrite(descriptor, block, offset)
        os.close(descriptor)
    with open(place.mount.upper / "new", "rb") as file:
        return sum(os.pread(file.fileno(), 1, offset) == b"\1" for offset in offsets)


@workload(large, Row("20,000 appends of 60 bytes", 1.5))
def appends(place: Place) -> object:
    """To a new file that is open for appending, as a log is."""
    line = b"x" * 59 + b"\n"
    path = place.merged / "log"
    with place.timed("20,000 appends of 60 bytes"):
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for _ in range(place.size(_APPENDS)):
            os.write(descriptor, line)
        os.close(descriptor)
    return (place.mount.upper / "log").read_bytes().count(line)


@workload(large, Row("copy-up of 512 MB", 1.05), writes=True)
def copy_up(place: Place) -> object:
    """Open a lower file for writing, change a byte, and sync."""
    with place.timed("copy-up of 512 MB"):
        descriptor = os.open(place.merged / "large", os.O_RDWR)
        os.pwrite(descriptor, b"x", 1000)
        os.fsync(descriptor)
        os.close(descriptor)
    copied = place.mount.upper / "large"
    return copied.stat().st_size, copied.open("rb").read(_MIB)


def _read(path: Path) -> tuple[int, int]:
    """Bytes of a file, and a sum over one of each MiB."""
    total = seen = 0
    descriptor = os.open(path, os.O_RDONLY)
    while got := os.readv(descriptor, [_buffer]):
        total += got
        seen += _buffer[6] + _buffer[7] + _buffer[1000]
    os.close(descriptor)
    return total, seen
