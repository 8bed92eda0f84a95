"""Memory is taken for what the kernel knows, and given back when it forgets."""

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.core.inprocess import InProcess
from tests.unit.fuse.direct.carrier import Carrier
from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.protocol import Opcode

DIRECTORIES, FILES = 5, 600
LARGEST_OBJECT_BYTES = 1000


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[Carrier]:
    inside = InProcess(tmp_path, lowers=1)
    for directory in range(DIRECTORIES):
        (inside.lowers[0] / f"dir{directory}").mkdir()
        for number in range(FILES):
            (inside.lowers[0] / f"dir{directory}/some-file-name-{number}").touch()
    made = Carrier(inside.union)
    yield made
    made.close()
    inside.reopen()


def walk(carrier: Carrier, nodeid: int = protocol.ROOT_ID) -> list[int]:
    """List the directory and all below it; the nodeids that were told, a directory's before those in it."""
    told: list[int] = []
    offset = 0
    while answer := carrier.ask(Opcode.READDIRPLUS, protocol.READ_IN.pack(0, offset, 1 << 16), nodeid):
        place = 0
        while place < len(answer):
            found, *_ = protocol.ENTRY_OUT.unpack_from(answer, place)
            place += protocol.ENTRY_OUT.size + protocol.ATTR.size
            _, offset, length, kind = protocol.DIRENT.unpack_from(answer, place)
            place += protocol.DIRENT.size + length + -length % 8
            if found:
                told.append(found)
                told += walk(carrier, found) if kind == 4 else []
    return told


def forget(carrier: Carrier, nodeids: list[int]) -> None:
    one = b"".join(protocol.FORGET_ONE.pack(nodeid, 1) for nodeid in nodeids)
    carrier.send(Opcode.BATCH_FORGET, protocol.BATCH_FORGET_IN.pack(len(nodeids)) + one)


@pytest.mark.parametrize("order", [1, -1], ids=["directories first", "directories last"])
def test_an_object_takes_a_kilobyte_until_it_is_forgotten(carrier: Carrier, order: int) -> None:
    forget(carrier, walk(carrier))  # what is imported or made once
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        told = walk(carrier)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        assert len(told) == DIRECTORIES * (FILES + 1)
        assert taken < LARGEST_OBJECT_BYTES * len(told)
        assert len(list(carrier.union.inodes)) == len(told) + 1
        forget(carrier, told[::order])
        assert list(carrier.union.inodes) == [carrier.union.root]
        told.clear()
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - before
        assert left < taken / 10, "tables of Python's never shrink"
    finally:
        tracemalloc.stop()


def test_what_is_forgotten_after_a_file_of_two_names_goes_too(tmp_path: Path) -> None:
    inside = InProcess(tmp_path, lowers=1)
    for name in ("dir", "last"):
        (inside.lowers[0] / name).mkdir()
    (inside.lowers[0] / "dir/one").touch()
    (inside.lowers[0] / "dir/other").hardlink_to(inside.lowers[0] / "dir/one")
    carrier = Carrier(inside.union)
    told = walk(carrier)
    last = (inside.lowers[0] / "last").stat().st_ino
    forget(carrier, sorted(told, key=lambda nodeid: nodeid == last))
    assert list(carrier.union.inodes) == [carrier.union.root]
    carrier.close()
    inside.reopen()
