"""Names and attributes: walks, lookups, small files, trees made and removed."""

import os
from contextlib import suppress
from pathlib import Path

from bench.stacks import APP, app_files, image
from bench.workload import Place, Row, run, workload

_SHOWN = ["(", "-type", "d", "-printf", r"%P %m %U:%G\n", ")", "-o", "-printf", r"%P %m %U:%G %s %T@ %l\n"]
_ABSENT = 5_000
_LISTED = ("", "etc", "opt/app", "usr", "usr/bin", "usr/lib", "usr/sbin", "usr/lib/python3.11", "usr/share/perl/5.36.0",
           "var/lib/dpkg/info")  # fmt: skip
_READERS = 4
_buffer = bytearray(1 << 20)


def find(place: Place, below: str = "") -> bytes:
    """Every attribute of every object; sizes of directories are each filesystem's own affair."""
    return run("find", place.merged / below, *_SHOWN)


@workload(image, Row("walk, cold", 1.5), Row("walk, warm", 1.1))
def walk(place: Place) -> object:
    """find over the image, printing all attributes."""
    with place.timed("walk, cold", cold=True):
        found = find(place)
    with place.timed("walk, warm"):
        again = find(place)
    listed = sorted(found.splitlines())
    assert sorted(again.splitlines()) == listed, "two walks show different things"
    return listed


@workload(image, Row("read 1,600 small files, cold", 2), Row("read 1,600 small files, warm", 2), shared=True)
def small_files(place: Place) -> object:
    """Open, read to the end and close each file of the application."""
    files = [f"{place.merged}/{name}" for name in app_files()]
    with place.timed("read 1,600 small files, cold", cold=True):
        total = read_all(files)
    with place.timed("read 1,600 small files, warm"):
        assert read_all(files) == total
    return total


@workload(image, Row("four parallel readers, cold", 1.8), Row("four parallel readers, warm", 1.8), shared=True)
def parallel_readers(place: Place) -> object:
    """The same by four processes at once, each reading all."""
    files = [f"{place.merged}/{name}" for name in app_files()]
    with place.timed("four parallel readers, cold", cold=True):
        _read_in_parallel(files)
    with place.timed("four parallel readers, warm"):
        _read_in_parallel(files)
    return read_all(files)


@workload(image, Row("5,000 failing lookups, first", 2), Row("5,000 failing lookups, repeated", 1.1))
def failing_lookups(place: Place) -> object:
    """access(2) of names that don't exist, in ten directories that were listed before."""
    found = 0
    names = [f"{place.merged}/{_LISTED[n % len(_LISTED)]}/no-such-name-{n}" for n in range(_ABSENT)]
    for folder in _LISTED:
        found += len(os.listdir(place.merged / folder))
    with place.timed("5,000 failing lookups, first"):
        assert not any(map(_exists, names))
    with place.timed("5,000 failing lookups, repeated"):
        assert not any(map(_exists, names))
    return found


@workload(image, Row("untar 1,600 files", 2), Row("remove them", 2.5), writes=True)
def untar(place: Place) -> object:
    """Unpack the application's tree into an empty directory by tar; then rm -r."""
    archive = place.scratch / "app.tar"
    run("tar", "-cf", archive, "-C", place.merged, APP)
    target = place.merged / "srv"
    with place.timed("untar 1,600 files"):
        run("tar", "-xf", archive, "-C", target)
    count = run("find", target).count(b"\n")
    with place.timed("remove them"):
        run("rm", "-r", target / "opt")
    assert os.listdir(target) == []
    return count


@workload(image, Row("remove a lower tree of 1,600 files", 2), writes=True)
def remove_lower(place: Place) -> object:
    """rm -r of the application, which no upper has."""
    with place.timed("remove a lower tree of 1,600 files"):
        run("rm", "-r", place.merged / APP)
    return os.listdir(place.merged / "opt")


@workload(image, Row("chown -R of that tree", 0.3), writes=True)
def chown_lower(place: Place) -> object:
    """chown -R of the application: each object is copied up."""
    with place.timed("chown -R of that tree"):
        run("chown", "-R", "1234:1234", place.merged / APP)
    owners = run("find", place.merged / APP, "-printf", r"%P %U:%G\n")
    return sorted(owners.splitlines())


def read_all(files: list[str]) -> int:
    """Read files to their ends, as cat does; the number of bytes."""
    total = 0
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        while got := os.readv(descriptor, [_buffer]):
            total += got
        os.close(descriptor)
    return total


def _read_in_parallel(files: list[str]) -> None:
    readers = []
    for _ in range(_READERS):
        if (pid := os.fork()) == 0:
            status = 1
            with suppress(OSError):
                read_all(files)
                status = 0
            os._exit(status)
        readers.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in readers)


def _exists(name: str | Path) -> bool:
    return os.access(name, os.F_OK)
