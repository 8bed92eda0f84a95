"""The examples of the README print what the README says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.mounts import is_mount_point

HOUSE = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"^```console\n(.*?)^```", (HOUSE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
EXAMPLES = [block for block in BLOCKS if "podman" not in block]     # which has tests of its own

pytestmark = needs.root


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command behind a `$`, and what it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A directory to type the examples in: with layers to run, and programs that keep all they make there."""
    needs.fuse_device()
    needs.commands("busybox")
    for name in ("bin", "src", "layers/app", "layers/base/bin", "layers/base/etc"):
        (tmp_path / name).mkdir(parents=True)
    busybox = shutil.which("busybox", path=needs.search_path())
    assert busybox is not None
    shutil.copy(busybox, tmp_path / "layers/base/bin/busybox")
    for name in ("sh", "rm"):
        (tmp_path / "layers/base/bin" / name).symlink_to("busybox")
    (tmp_path / "layers/base/etc/motd").write_text("hello\n")
    places = f"--root={tmp_path}/state --runroot={tmp_path}/run"
    for name, arguments in (("pyunion", f"-m pyunion {places}"), ("pyunionfs", "-m unionfs")):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH={HOUSE} exec {sys.executable} {arguments} "$@"\n')
        program.chmod(0o755)
    yield tmp_path
    if is_mount_point(tmp_path / "merged"):
        subprocess.run(["umount", "-l", tmp_path / "merged"], check=False)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("example", EXAMPLES, ids=["host", "kept", "mount"])
def test_an_example_prints_what_it_says(desk: Path, example: str) -> None:
    environment = {**os.environ, "PATH": f"{desk}/bin:{needs.search_path()}", "LC_ALL": "C", "PWD": str(desk)}
    for command, expected in commands(example):
        result = subprocess.run(
            ["bash", "-c", command], cwd=desk, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        assert result.stdout == expected, command
