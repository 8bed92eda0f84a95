"""`--mount type=image`: the tree of another image, beside the container's own root filesystem."""

import json
import os
from pathlib import Path

import pytest

from runtime.trees import remove_tree
from tests.image_store.conftest import Command, busybox
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = needs.root
BOX, OTHER = "example.org/test:1", "data:1"
MOUNT = f"--mount=type=image,source={OTHER},target=/other"


@pytest.fixture
def images(pyunion: Command, tmp_path: Path) -> Command:
    """An image to run, and one whose upper layer changes the lower one."""
    needs.fuse_device()
    lower = archive([member("dir"), member("kept", data=b"kept\n", uid=7, gid=8), member("gone", data=b"gone\n")])
    upper = archive([member(".wh.gone"), member("new", data=b"new\n", mode=0o600)])
    pyunion("load", make_layout(tmp_path / "other", [lower, upper], config={"Cmd": ["x"]}))
    pyunion("tag", BOX, OTHER)
    pyunion("rmi", BOX)
    pyunion("load", make_layout(tmp_path / "box", [busybox()], config={"Env": ["PATH=/bin"]}))
    return pyunion


def drivers() -> list[str]:
    """Of images, as processes of this machine."""
    titles = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            titles.append(Path(f"/proc/{name}/cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [title.decode(errors="replace") for title in titles if f"driver of {OTHER}".encode() in title]


def test_an_image_is_seen_as_its_layers_make_it_and_cannot_be_changed(images: Command) -> None:
    script = "cd /other; ls; cat kept new; ls -ln kept; echo x > kept; rm new; mkdir more"
    said = images("run", "--rm", MOUNT, BOX, "sh", "-c", f"({script}) 2>&1 || true")
    assert said.split()[:5] == ["dir", "kept", "new", "kept", "new"]
    assert " 7        8 " in said
    assert said.count("Read-only file system") == 3
    wait_for("its driver ends", lambda: drivers() == [])


def test_several_may_be_had_and_owners_are_those_inside(images: Command) -> None:
    mounts = (MOUNT, f"--mount=type=image,src={BOX},dst=/box")
    options = ("--uidmap=0:300000:1000", *mounts)
    assert " 7        8 " in images("run", "--rm", *options, BOX, "ls", "-ln", "/other/kept")
    assert images("run", "--rm", *mounts, BOX, "cat", "/box/etc/old", "/other/new") == "oldnew\n"


def test_what_a_container_has_of_an_image_outlives_the_image(images: Command) -> None:
    images("create", "--name=c", MOUNT, BOX, "cat", "/other/kept")
    images("rmi", OTHER)
    images("prune")
    assert images("start", "-a", "c") == "kept\n"
    assert images("inspect", "-f", "{{with index .Mounts 0}}{{.Type}} {{.Source}}{{end}}", "c") == f"image {OTHER}\n"
    images("rm", "c")


def test_an_image_whose_layers_are_gone_is_named(images: Command, tmp_path: Path) -> None:
    images("create", "--name=c", MOUNT, BOX, "true")
    layers = json.loads(images("inspect", "-f", "{{json .RootFS.Layers}}", OTHER))
    remove_tree(f"{tmp_path}/root/layers/{layers[0].replace(':', '-')}")
    error = images("start", "-a", "c", status=125)
    assert error.startswith(f"pyunion start: image {OTHER} at /other: its driver has failed: ")
    images("rm", "c")


def test_a_mount_of_what_is_no_image_is_refused(images: Command) -> None:
    error = images("run", "--mount=type=image,target=/x", BOX, "ls", status=125)
    assert "the source of an image mount is its name" in error
    assert "invalid image name 'No'" in images("run", "--mount=type=image,src=No,dst=/x", BOX, "ls", status=125)
    assert images("ps", "-aq") == ""
