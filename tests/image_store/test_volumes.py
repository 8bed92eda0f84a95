"""Volumes: those that an image declares, and what new ones get from it."""

import os
import tarfile
from pathlib import Path

import pytest

from tests.image_store.conftest import Command, busybox
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs

pytestmark = needs.root
IMAGE = "example.org/test:1"
LOOK = ("sh", "-c", "cd /data && ls -ln . sub && cat file")


@pytest.fixture
def image(pyunion: Command, tmp_path: Path) -> str:
    """An image with something in the directory that it says is a volume."""
    content = archive([
        member("data", tarfile.DIRTYPE, mode=0o2750, uid=7, gid=8),
        member("data/file", data=b"of the image\n", uid=7, gid=8, mode=0o640),
        member("data/link", tarfile.SYMTYPE, linkname="file"),
        member("data/sub", tarfile.DIRTYPE, mode=0o700),
        member("data/sub/tool", data=b"#!/bin/sh\n", mode=0o4755),
    ])
    config = {"Env": ["PATH=/bin"], "Volumes": {"/data/": {}, "/empty": {}}}
    pyunion("load", make_layout(tmp_path / "image", [busybox(), content], config=config))
    return IMAGE


def volumes(pyunion: Command) -> list[str]:
    return pyunion("volume", "ls", "-q").split()


def test_what_an_image_declares_is_a_volume_with_what_the_image_has_there(pyunion: Command, image: str) -> None:
    pyunion("run", "--name", "c", image, "sh", "-c", "echo more > /data/more; rm /data/file; echo x > /empty/x")
    assert len(volumes(pyunion)) == 2
    assert sorted(pyunion("start", "-a", "c").split()) == []
    pyunion("commit", "c", "made:1")
    assert pyunion("run", "--rm", "made:1", "ls", "/data").split() == ["file", "link", "sub"]
    assert len(volumes(pyunion)) == 2
    pyunion("rm", "-v", "c")
    assert volumes(pyunion) == []


def test_a_volume_looks_like_the_directory_it_is_filled_from(pyunion: Command, image: str) -> None:
    assert "of the image" in pyunion("run", "--rm", "-v", "named:/data", image, *LOOK)
    place = Path(pyunion("volume", "inspect", "--format", "{{.Mountpoint}}", "named").strip())
    st = place.stat()
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o2750, 7, 8)
    assert sorted(os.listdir(place)) == ["file", "link", "sub"]
    assert (place / "file").stat().st_uid == 7
    assert os.readlink(place / "link") == "file"
    assert (place / "sub/tool").stat().st_mode & 0o7777 == 0o4755


def test_a_volume_is_filled_once(pyunion: Command, image: str) -> None:
    pyunion("run", "--rm", "-v", "named:/data", image, "sh", "-c", "echo mine > /data/file")
    assert pyunion("run", "--rm", "-v", "named:/data", image, "cat", "/data/file") == "mine\n"
    pyunion("run", "--name", "c", "-v", "named:/data", image, "sh", "-c", "rm -rf /data/*")
    assert pyunion("start", "-a", "c") == ""
    assert os.listdir(pyunion("volume", "inspect", "--format", "{{.Mountpoint}}", "named").strip()) == []


def test_it_stays_empty_if_that_is_asked_for(pyunion: Command, image: str) -> None:
    assert pyunion("run", "--rm", "-v", "one:/data:nocopy", image, "ls", "/data") == ""
    assert pyunion("run", "--rm", "--mount", "src=two,dst=/data,volume-nocopy", image, "ls", "/data") == ""


def test_what_is_mounted_there_takes_its_place(pyunion: Command, image: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own").touch()
    paths = ("-v", f"{tmp_path}/mine:/data", "--tmpfs", "/empty")
    assert pyunion("run", "--name", "c", *paths, image, "ls", "/data") == "own\n"
    assert volumes(pyunion) == []
    assert os.listdir(tmp_path / "mine") == ["own"]


def test_a_volume_in_place_of_a_file_is_refused(pyunion: Command, tmp_path: Path) -> None:
    pyunion("load", make_layout(tmp_path / "file", [busybox()], config={"Volumes": {"/etc/passwd": {}}}, name="file:1"))
    error = pyunion("run", "--rm", "file:1", "true", status=125)
    assert "volume at /etc/passwd: the image has something there that is no directory" in error
