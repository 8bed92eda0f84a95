"""Trees deeper than any path that system calls take, and than Python's calls may be nested."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.unit.core.inprocess import ROOT, InProcess
from unionfs.core.ops import create, files, rename
from unionfs.core.work import run_inline

pytestmark = needs.root

DEPTH = 1000
NAME = "directory"
PATH = "/".join([NAME] * DEPTH)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[InProcess]:
    """A lower layer of DEPTH directories with a file in the last."""
    union = InProcess(tmp_path, lowers=1)
    at = os.open(union.lowers[0], os.O_PATH)
    for _ in range(DEPTH):
        os.mkdir(NAME, dir_fd=at)
        deeper = os.open(NAME, os.O_PATH, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=at))
    os.close(at)
    yield union
    union.reopen()
    subprocess.run(["rm", "-r", *union.lowers, union.upper], check=True)  # pytest's own removal can't


def test_a_file_is_copied_up_with_all_directories_above_it(deep: InProcess) -> None:
    deep.write(f"{PATH}/file", b"written")
    deep.reopen()
    assert deep.read(f"{PATH}/file") == b"written"


def test_what_is_made_there_can_be_renamed(deep: InProcess) -> None:
    fh, _ = create.create(deep.union, deep.node(PATH), b"new", 0o644, os.O_RDWR, ROOT)
    files.release(deep.union, fh)
    run_inline(rename.rename(deep.union, deep.node(PATH), b"new", deep.node(PATH), b"newer"))
    assert deep.names(PATH) == ["file", "newer"]
    deep.reopen()
    assert deep.names(PATH) == ["file", "newer"]


@pytest.mark.parametrize("how", ["redirect", "copy"])
def test_the_uppermost_directory_is_renamed(deep: InProcess, how: str) -> None:
    deep.options["rename"] = how
    root = deep.union.root
    run_inline(rename.rename(deep.union, root, os.fsencode(NAME), root, b"renamed"))
    rest = "/".join(["renamed"] + [NAME] * (DEPTH - 1))
    assert deep.names(rest) == ["file"]
    deep.reopen()
    assert deep.names(rest) == ["file"]
