"""Profiles of AppArmor on containers, where the kernel has it: `tests/vm/run` runs this in its virtual machine."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion, busybox, own_network, pyunion

__all__ = ["busybox", "own_network", "pyunion"]

_NAME = "pyunion-test"
_PROFILE = f"""
profile {_NAME} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  signal,
  deny /etc/passwd r,
}}
"""
_LOOK = "cat /proc/self/attr/current; cat /etc/passwd"
_OPTION = ("--security-opt", f"apparmor={_NAME}")


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "profile"
    file.write_text(_PROFILE)
    subprocess.run(["apparmor_parser", "--skip-cache", "--replace", file], check=True)
    yield
    subprocess.run(["apparmor_parser", "--remove", file], check=True)


@pytest.mark.parametrize("more", [(), ("-u", "alice"), ("--security-opt", "no-new-privileges")])
def test_a_profile_is_that_of_the_command(pyunion: Pyunion, profile: None, more: tuple[str, ...]) -> None:
    result = pyunion.run("--network=none", *_OPTION, *more, "sh", "-c", _LOOK)
    assert result.stdout == f"{_NAME} (enforce)\n"
    assert "Permission denied" in result.stderr


def test_and_of_what_exec_runs(pyunion: Pyunion, profile: None) -> None:
    name = pyunion("run", "-d", "--network=none", *_OPTION, "--rootfs", pyunion.rootfs, "sleep", "1000").stdout.strip()
    assert pyunion("exec", name, "sh", "-c", _LOOK).stdout == f"{_NAME} (enforce)\n"
    pyunion("rm", "-f", name)


def test_without_one_there_is_none(pyunion: Pyunion) -> None:
    for option in ((), ("--security-opt", "apparmor=unconfined")):
        result = pyunion.run("--network=none", *option, "cat", "/proc/self/attr/current")
        assert result.stdout == "unconfined\n"


def test_a_profile_that_is_not_loaded_is_refused(pyunion: Pyunion) -> None:
    result = pyunion.run("--network=none", "--security-opt", "apparmor=absent", "true")
    assert (result.returncode, result.stdout) == (125, "")
    assert "--security-opt apparmor=absent: the kernel doesn't take it: No such file or directory" in result.stderr
