"""What `pyunion commit` makes of a container: its configuration, its root directory, a moment of it."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image_store.conftest import Command, busybox
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = needs.root
IMAGE, MADE = "example.org/test:1", "example.org/made:1"


def test_an_image_gets_the_configuration_of_its_container(pyunion: Command, layout: Path) -> None:
    pyunion("load", layout)
    pyunion("run", "--name", "c", "-e", "MORE=1", "-w", "/etc", "-u", "0", "--label", "c=d", IMAGE, "true")
    pyunion("commit", "-a", "me <me@example.org>", "-m", "a note", "-c", "EXPOSE 81", "c", MADE)
    made = json.loads(pyunion("inspect", MADE))[0]
    config = made["Config"]
    assert config["Env"] == ["PATH=/bin", "FROM=image", "MORE=1"]
    assert (config["Cmd"], config["Entrypoint"]) == (["true"], [])
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("0", "/etc", "SIGUSR1")
    assert config["Labels"] == {"a": "b", "c": "d"}
    assert sorted(config["ExposedPorts"]) == ["80/tcp", "81/tcp"]
    assert config["Volumes"] == {"/data": {}}
    assert made["Author"] == "me <me@example.org>"
    assert (made["History"][-1]["comment"], made["History"][-1]["created_by"]) == ("a note", "true")


def test_the_root_directory_is_the_image_s_own_and_what_the_container_made_of_it(
    pyunion: Command, layout: Path, tmp_path: Path
) -> None:
    top = archive([member(".", tarfile.DIRTYPE, mode=0o751, uid=7, gid=8)])
    pyunion("load", make_layout(tmp_path / "top", [busybox(), top], config={"Env": ["PATH=/bin"]}))
    owner = ("ls", "-dln", "/")
    assert pyunion("run", "--rm", IMAGE, *owner).split()[:4:2] == ["drwxr-x--x", "7"]
    pyunion("run", "--name", "same", IMAGE, "sh", "-c", "echo > /file")
    pyunion("run", "--name", "other", IMAGE, "sh", "-c", "chmod 711 /")
    pyunion("commit", "same", "same:1")
    pyunion("commit", "other", MADE)
    assert pyunion("run", "--rm", "same:1", *owner).split()[0] == "drwxr-x--x"
    assert pyunion("run", "--rm", MADE, *owner).split()[:4:2] == ["drwx--x--x", "7"]


@pytest.fixture
def busy(pyunion: Command, layout: Path, tmp_path: Path) -> Iterator[str]:
    """A container that writes a line into one file after the other, again and again; between them is a long one."""
    pyunion("load", layout)
    script = "head -c 10000000 /dev/urandom > /pad; while :; do echo line >> /one; echo line >> /two; done"
    pyunion("run", "-d", "--name", "busy", "-u", "0", "-w", "/", IMAGE, "sh", "-c", script)
    try:
        _wait_for_more(tmp_path, 0)
        yield "busy"
    finally:
        pyunion("rm", "-f", "busy")


def test_a_container_is_suspended_while_its_files_are_read(pyunion: Command, busy: str, tmp_path: Path) -> None:
    if "control group" in pyunion("pause", busy, status=None):
        needs.missing("no control group that freezes")
    pyunion("unpause", busy)
    pyunion("commit", busy, MADE)
    one, two = (len(pyunion("run", "--rm", MADE, "cat", file).splitlines()) for file in ("/one", "/two"))
    assert one - two in (0, 1)
    _wait_for_more(tmp_path, _size(tmp_path))
    pyunion("commit", "--pause=false", busy, "unpaused:1")


def _wait_for_more(folder: Path, size: int) -> None:
    wait_for("more", lambda: _size(folder) > size)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("root/containers/*/diff/one"))


def test_commit_of_a_container_whose_image_is_gone_says_what_to_do(pyunion: Command, layout: Path) -> None:
    pyunion("load", layout)
    pyunion("run", "--name", "c", IMAGE, "true")
    pyunion("rmi", "-f", IMAGE)
    assert "was removed: use pyunion export and pyunion import" in pyunion("commit", "c", MADE, status=1)
    assert "is of no image" in _of_directories(pyunion)


def _of_directories(pyunion: Command) -> str:
    pyunion("run", "--name", "d", "--host", "true")
    return pyunion("commit", "d", MADE, status=1)
