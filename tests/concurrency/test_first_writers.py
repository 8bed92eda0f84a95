"""Many processes open the same lower file for writing in the same moment: one copy is made, and all write to it."""

import os
from functools import partial
from pathlib import Path

import pytest

from tests.concurrency import workers
from tests.concurrency.workers import Barrier
from tests.support import needs

pytestmark = [needs.root]

PROCESSES = 8
ROUNDS = 25
RECORD = 16
SIZE = 200_000


@pytest.fixture
def lowers(tmp_path) -> list[Path]:
    layers = [tmp_path / "top", tmp_path / "bottom"]
    for layer in layers:
        layer.mkdir()
    (layers[1] / "deep/er").mkdir(parents=True)
    for number in range(ROUNDS):
        (layers[1] / f"deep/er/{number}-a").write_bytes(bytes(SIZE))
        os.link(layers[1] / f"deep/er/{number}-a", layers[1] / f"deep/er/{number}-b")
        (layers[1] / f"single{number}").write_bytes(bytes(SIZE))
    return layers


def write_cell(path: Path, process: int) -> int:
    """Write the process's own part of the file; its inode number."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, b"%*d" % (RECORD, process), process * RECORD)
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def check_cells(path: Path) -> None:
    content = path.read_bytes()
    assert len(content) == SIZE
    assert content[: PROCESSES * RECORD] == b"".join(b"%*d" % (RECORD, process) for process in range(PROCESSES))
    assert not any(content[PROCESSES * RECORD :])


@pytest.mark.parametrize("options", ["", "metacopy=on", "volatile"])
def test_first_writers_make_one_copy(tmp_path, lowers, union_mount, options):
    """Rule 35. Also when half of them come by another hard link of the file."""
    mounted = union_mount(lowers, tmp_path / "upper", options=options)
    numbers = [os.stat(mounted.path / f"deep/er/{number}-a").st_ino for number in range(ROUNDS)]
    barrier = Barrier(PROCESSES)

    def write(process: int) -> None:
        for number in range(ROUNDS):
            barrier.wait(process)
            ino = write_cell(mounted.path / f"deep/er/{number}-{'ab'[process % 2]}", process)
            assert ino == numbers[number]
            write_cell(mounted.path / f"single{number}", process)

    workers.run([partial(write, process) for process in range(PROCESSES)])
    barrier.close()
    for number in range(ROUNDS):
        for name in (f"deep/er/{number}-a", f"deep/er/{number}-b", f"single{number}"):
            check_cells(mounted.path / name)
        assert os.stat(mounted.path / f"deep/er/{number}-b").st_nlink == 2
    mounted.remount()
    for number in range(ROUNDS):
        check_cells(mounted.path / f"deep/er/{number}-b")
        assert os.stat(mounted.path / f"deep/er/{number}-a").st_ino == numbers[number]


def test_readers_see_the_old_file_or_the_new_one(tmp_path, lowers, union_mount):
    """Rule 33. While it is copied up, and cut to nothing and written anew by renaming."""
    mounted = union_mount(lowers, tmp_path / "upper")
    barrier = Barrier(PROCESSES)

    def work(process: int) -> None:
        for number in range(ROUNDS):
            path = mounted.path / f"single{number}"
            barrier.wait(process)
            if process == 0:
                fd = os.open(path, os.O_RDWR)
                os.pwrite(fd, b"x", SIZE - 1)
                os.close(fd)
            else:
                content = path.read_bytes()
                assert len(content) == SIZE
                assert not any(content[:-1])
                assert content[-1:] in (b"\0", b"x")

    workers.run([partial(work, process) for process in range(PROCESSES)])
    barrier.close()


@pytest.mark.parametrize("verb", ["open", "chmod", "rename", "unlink"])
def test_one_of_many_renamers_wins(tmp_path, lowers, union_mount, verb):
    """Rule 65. The file that all rename to a name of their own, while it is copied up, is where one of them put it."""
    mounted = union_mount(lowers, tmp_path / "upper")
    barrier = Barrier(PROCESSES)

    def first(path: Path) -> None:
        if verb == "open":
            os.close(os.open(path, os.O_RDWR))
        elif verb == "chmod":
            os.chmod(path, 0o600)
        elif verb == "rename":
            os.rename(path, path.with_suffix(".first"))
        else:
            os.unlink(path)

    def work(process: int) -> None:
        for number in range(ROUNDS):
            path = mounted.path / f"single{number}"
            barrier.wait(process)
            try:
                if process == 0:
                    first(path)
                else:
                    os.rename(path, path.with_suffix(f".{process}"))
            except FileNotFoundError:
                continue

    workers.run([partial(work, process) for process in range(PROCESSES)])
    barrier.close()
    for number in range(ROUNDS):
        names = [name for name in os.listdir(mounted.path) if name.split(".")[0] == f"single{number}"]
        assert len(names) == 1 or (verb == "unlink" and not names), names
        for name in names:
            assert (mounted.path / name).stat().st_size == SIZE
