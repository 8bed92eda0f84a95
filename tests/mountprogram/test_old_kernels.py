"""Where the kernel lacks the newer system calls, everything still works: each has an older way beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mountprogram.conftest import Stage
from tests.support import needs
from tests.support.old_kernel import FIRST_MISSING

pytestmark = needs.root


@pytest.mark.parametrize("release", FIRST_MISSING)
def test_a_union_is_mounted_read_and_written(stage: Stage, release: str) -> None:
    stage.prefix = [sys.executable, "-m", "tests.support.old_kernel", release]
    (stage.top / "b/deep/er").mkdir(parents=True)
    (stage.top / "b/deep/er/file").write_text("lower")
    (stage.top / "b/deep/link").symlink_to("er")
    (stage.top / "a/deep").mkdir()
    run(stage, "-o", stage.options, str(stage.point))

    merged = stage.point
    assert sorted(os.listdir(merged)) == ["deep", "from-a", "from-b"]
    with (merged / "deep/er/file").open("a") as file:
        file.write(", then upper")
    assert (merged / "deep/link/file").read_text() == "lower, then upper"
    (merged / "deep/er").rename(merged / "moved")
    (merged / "from-b").unlink()
    stage.umount()

    stage.prefix = []
    stage.mount("-o", stage.options, str(merged))
    assert sorted(os.listdir(merged)) == ["deep", "from-a", "moved"]
    assert (merged / "moved/file").read_text() == "lower, then upper"
    assert (stage.top / "b/deep/er/file").read_text() == "lower"


def test_a_symlink_that_replaces_a_directory_of_a_layer_is_not_followed(stage: Stage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("")
    (stage.top / "b/deep/er").mkdir(parents=True)
    stage.prefix = [sys.executable, "-m", "tests.support.old_kernel", "5.4"]
    run(stage, "-o", stage.options, str(stage.point))
    assert os.listdir(stage.point / "deep") == ["er"]
    (stage.top / "b/deep/er").rmdir()
    (stage.top / "b/deep/er").symlink_to(outside)
    with pytest.raises(OSError, match=r"."):
        os.listdir(stage.point / "deep/er")


def run(stage: Stage, *arguments: str) -> None:
    """Mount from the checkout's folder, where `python -m` finds the wrapper."""
    result = stage.run(*arguments, cwd=Path(__file__).parents[2])
    assert (result.returncode, result.stderr) == (0, "")
    assert subprocess.run(["mountpoint", "-q", str(stage.point)], check=False).returncode == 0
