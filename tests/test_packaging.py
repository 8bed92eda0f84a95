"""What is installed from the wheel works, and needs the standard library alone until somebody asks for more."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import needs

HOUSE = Path(__file__).resolve().parent.parent


def build(target: str, directory: Path) -> Path:
    """Have hatchling make a `wheel` or `sdist` of this checkout: where it is."""
    if find_spec("hatchling") is None:
        needs.missing("hatchling is not installed")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    subprocess.run(command, cwd=HOUSE, capture_output=True, check=True)
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that holds what the wheel does, and nothing else."""
    directory = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as wheel:
        wheel.extractall(directory)
    return directory


def run(installed: Path, *arguments: object) -> str:
    """What Python prints that sees the standard library and `installed` alone."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-S", *map(str, arguments)]
    result = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_takes_no_common_names(installed: Path) -> None:
    (metadata,) = installed.glob("pyunion-*.dist-info")
    assert {path.name for path in installed.iterdir()} == {"pyunion.py", "pyunion_rooms", "unionfs", metadata.name}


def test_the_wheel_says_that_it_has_types(installed: Path) -> None:
    assert (installed / "unionfs/py.typed").is_file()


@pytest.mark.parametrize(("module", "name"), [("pyunion", "pyunion"), ("unionfs", "pyunionfs")])
def test_both_programs_run_as_modules(installed: Path, module: str, name: str) -> None:
    (metadata,) = installed.glob("pyunion-*.dist-info")
    version = metadata.name.removeprefix("pyunion-").removesuffix(".dist-info")
    assert run(installed, "-m", module, "--version") == f"{name} {version}\n"


def test_both_commands_lead_to_functions(installed: Path) -> None:
    code = """
from importlib.metadata import entry_points
for command in entry_points(group="console_scripts"):
    print(command.name, callable(command.load()))
"""
    assert sorted(run(installed, "-c", code).splitlines()) == ["pyunion True", "pyunionfs True"]


@needs.root
def test_a_container_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    needs.fuse_device()
    needs.commands("busybox")
    busybox = shutil.which("busybox", path=needs.search_path())
    assert busybox is not None
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    shutil.copy(busybox, tmp_path / "rootfs/bin/echo")
    places = (f"--root={tmp_path}/state", f"--runroot={tmp_path}/run")
    words = ("run", "--rm", "--network=none", f"--rootfs={tmp_path}/rootfs", "echo", "it runs")
    assert run(installed, "-m", "pyunion", *places, *words) == "it runs\n"


def test_the_source_archive_has_all_that_is_under_version_control(tmp_path: Path) -> None:
    needs.commands("git")
    command = ["git", "-c", f"safe.directory={HOUSE}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name and (HOUSE / name).exists()}
    with tarfile.open(build("sdist", tmp_path)) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked <= held
