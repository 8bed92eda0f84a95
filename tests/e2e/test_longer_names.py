"""Docker's longer names of verbs, what tells about the whole, and what removes all that nothing uses."""

import json
import os
import platform
import pty
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion


@pytest.fixture
def stopped(pyunion: Pyunion) -> Pyunion:
    """A container that has ended, `old`, and one that runs, `new`."""
    pyunion("run", "--name=old", "--label=keep", "--rootfs", pyunion.rootfs, "sh", "-c", "head -c 100000 /dev/zero >/f")
    pyunion("run", "-d", "--name=new", "-v", "kept:/data", "--rootfs", pyunion.rootfs, "sleep", "1000")
    return pyunion


def test_a_longer_name_means_the_short_one(stopped: Pyunion) -> None:
    for longer, short in (
        ("container ls -a -q", "ps -aq"),
        ("container list --quiet", "ps --quiet"),
        ("container inspect new", "inspect --type=container new"),
        ("container logs new", "logs new"),
        ("image ls", "images"),
        ("image inspect none", "inspect --type=image none"),
        ("image rm none", "rmi none"),
        ("system info", "info"),
    ):
        one, two = stopped(*longer.split()), stopped(*short.split())
        assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr), longer


def test_help_is_found_as_people_look_for_it(pyunion: Pyunion) -> None:
    for words, about in (
        ("help", "[OPTIONS] COMMAND [ARG...]"),
        ("-h", "[OPTIONS] COMMAND [ARG...]"),
        ("help ps", "ps [OPTIONS]"),
        ("ps -h", "ps [OPTIONS]"),
        ("help network create", "network create [OPTIONS] NETWORK"),
        ("help container ls", "ps [OPTIONS]"),
    ):
        result = pyunion(*words.split())
        assert (result.returncode, result.stdout.splitlines()[0]) == (0, f"Usage: pyunion {about}"), words


def test_a_group_lists_its_verbs(pyunion: Pyunion) -> None:
    for words in (("image",), ("image", "--help")):
        result = pyunion(*words)
        assert (result.returncode, result.stderr) == (0, "")
        assert "  ls        pyunion images\n" in result.stdout
    result = pyunion("image", "teleport")
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr == "pyunion: unknown command: image teleport\nSee 'pyunion --help'.\n"


def test_scripts_can_ask_for_the_version_and_the_machine(stopped: Pyunion) -> None:
    assert stopped("version", "--format", "{{.Server.Version}}").stdout == stopped("--version").stdout.split()[1] + "\n"
    assert json.loads(stopped("version", "-f", "json").stdout)["Client"]["Os"] == "linux"
    about = json.loads(stopped("info", "--format", "{{json .}}").stdout)
    counts = (about["Containers"], about["ContainersRunning"], about["ContainersStopped"], about["Images"])
    assert counts == (2, 1, 1, 0)
    assert (about["KernelVersion"], about["DockerRootDir"]) == (platform.release(), str(stopped.root))
    assert "\n Running: 1\n" in stopped("info").stdout


def test_room_is_counted_by_what_takes_it(stopped: Pyunion) -> None:
    rows = [json.loads(line) for line in stopped("system", "df", "--format", "json").stdout.splitlines()]
    containers, volumes = (next(row for row in rows if row["Type"] == kind) for kind in ("Containers", "Local Volumes"))
    assert (containers["TotalCount"], containers["Active"]) == (2, 1)
    assert containers["Reclaimable"].startswith("102kB")
    assert (volumes["TotalCount"], volumes["Active"], volumes["Reclaimable"]) == (1, 1, "0B")


def test_containers_that_run_and_what_they_have_outlive_a_prune(stopped: Pyunion) -> None:
    stopped("network", "create", "unused")
    old = stopped("inspect", "-f", "{{.Id}}", "old").stdout
    result = stopped("system", "prune", "--volumes")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{old}unused\nTotal reclaimed space: 102kB\n"
    assert stopped.containers() == ["new"]
    assert stopped("volume", "ls", "-q").stdout == "kept\n"


def test_filters_spare_containers(stopped: Pyunion) -> None:
    for spared in ("label!=keep", "label=other", "until=1h"):
        assert stopped("container", "prune", "--filter", spared).stdout == "Total reclaimed space: 0B\n"
    assert stopped.containers() == ["new", "old"]
    stopped("container", "prune", "--filter=label=keep", "--filter=until=0s")
    assert stopped.containers() == ["new"]


@pytest.mark.parametrize(("options", "answer", "left"), [
    ([], "n\n", ["new", "old"]), ([], "\n", ["new", "old"]), ([], "y\n", ["new"]), (["--force"], "", ["new"]),
])  # fmt: skip
def test_who_sits_at_a_terminal_is_asked_first(
    stopped: Pyunion, options: list[str], answer: str, left: list[str]
) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    argv = stopped.argv("container", "prune", *options)
    result = subprocess.run(argv, stdin=theirs, capture_output=True, text=True, check=False, timeout=30)
    os.close(ours)
    os.close(theirs)
    assert stopped.containers() == left
    assert ("Go on? [y/N]" in result.stderr) == (not options)
    assert result.returncode == (0 if left == ["new"] else 1)


def test_lists_of_a_state_directory_that_cannot_be_written_are_empty(pyunion: Pyunion, tmp_path: Path) -> None:
    """Root writes wherever modes forbid it, but not where the mount does."""
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", place], check=True)
    other = Pyunion(place, pyunion.rootfs)
    try:
        for words in ("ps -aq", "images -q", "volume ls -q", "network ls -q", "container ls -q"):
            result = other(*words.split())
            assert (result.returncode, result.stdout, result.stderr) == (0, "", ""), words
    finally:
        subprocess.run(["umount", place], check=True)
