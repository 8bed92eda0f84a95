"""Large reads are answered by threads: each with its own bytes, or why there are none."""

import errno
import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from unionfs.fuse.direct.bulk import LARGE_BYTES, Bulk
from unionfs.fuse.direct.workers import Workers

CONTENT = random.Random(1).randbytes(40 * LARGE_BYTES + 1)


class Reader:
    """Asks, and keeps what is answered."""

    def __init__(self) -> None:
        self.answers: dict[int, bytes | int] = {}
        self._workers = Workers()
        self._bulk = Bulk(self, self._workers)

    def reply(self, unique: int, answer: memoryview) -> None:
        self.answers[unique] = bytes(answer)

    def refuse(self, unique: int, number: int) -> None:
        self.answers[unique] = number

    def ask(self, unique: int, file: int, offset: int = 0) -> bool:
        return self._bulk.read(unique, file, offset, LARGE_BYTES)

    def settle(self) -> None:
        while self._workers.busy:
            assert select([self._workers.fd], [], [], 20)[0], "a thread hangs"
            self._workers.collect()


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(CONTENT)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    yield fd
    os.close(fd)


def test_many_at_once_get_each_its_own_bytes(reader: Reader, file: int) -> None:
    other = os.dup(file)
    for number in range(82):
        reader.ask(number, (file, other)[number % 2], number // 2 * LARGE_BYTES)
    reader.settle()
    os.close(other)
    assert [reader.answers[number] for number in range(82)] == [
        CONTENT[number // 2 * LARGE_BYTES :][:LARGE_BYTES] for number in range(82)
    ]


def test_behind_the_end_there_is_nothing(reader: Reader, file: int) -> None:
    reader.ask(7, file, len(CONTENT))
    reader.settle()
    assert reader.answers == {7: b""}


def test_it_is_the_file_of_the_time_of_asking(reader: Reader, file: int, tmp_path: Path) -> None:
    """Copy-up puts another one behind the number."""
    reader.ask(1, file)
    (tmp_path / "other").write_bytes(bytes(LARGE_BYTES))
    other = os.open(tmp_path / "other", os.O_RDONLY)
    os.dup2(other, file)
    os.close(other)
    reader.settle()
    assert reader.answers == {1: CONTENT[:LARGE_BYTES]}


def test_a_failure_is_the_answer_and_the_next_read_is_well(reader: Reader, file: int, tmp_path: Path) -> None:
    unreadable = os.open(tmp_path / "file", os.O_WRONLY)
    reader.ask(1, unreadable)
    os.close(unreadable)
    reader.settle()
    reader.ask(2, file)
    reader.settle()
    assert reader.answers == {1: errno.EBADF, 2: CONTENT[:LARGE_BYTES]}


def test_without_another_descriptor_it_is_left_to_the_caller(reader: Reader, file: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        assert not reader.ask(1, file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert reader.ask(2, file)
    reader.settle()
    assert reader.answers == {2: CONTENT[:LARGE_BYTES]}
