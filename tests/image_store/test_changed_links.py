"""A lower file with several names is one file in a container, and in the image that is made of that."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.image.tar.pack import pack_changes, pack_tree
from tests.image_store.conftest import Command, busybox
from tests.image_store.layouts import archive, load_layers, make_layout, member
from tests.support import needs
from tests.support.mounts import Mounted, MountFactory
from tests.support.tree import Snapshot, assert_same_tree, snapshot
from unionfs.core.changes import Change, changes

pytestmark = needs.root
DIR, LNK = tarfile.DIRTYPE, tarfile.LNKTYPE
LOWER = archive([
    member("a", data=b"old"), member("b", LNK, linkname="a"), member("alone", data=b"old"),
    member("d", DIR, mode=0o751, uid=7, mtime=1e9), member("d/c", LNK, linkname="a"), member("d/other"),
    member("e", DIR, mtime=1e9), member("e/f", DIR, mtime=1e9), member("e/f/g", LNK, linkname="a"),
    member("s", tarfile.SYMTYPE, linkname="a"), member("d/t", LNK, linkname="s"),
])  # fmt: skip
NAMES = {"a", "b", "d/c", "e/f/g"}


class Made(NamedTuple):
    """What became of a container, and the image of it."""

    container: Mounted
    image: Path
    layer: bytes


Make = Callable[[Callable[[Path], object]], Made]


@pytest.fixture
def make(tmp_path: Path, union_mount: MountFactory) -> Make:
    """Change a union over LOWER, commit it while it is mounted, and mount the image."""

    def made(act: Callable[[Path], object]) -> Made:
        store, image = load_layers(tmp_path / "base", LOWER)
        lower = store.layers_of(image)
        container = union_mount([Path(path) for path in lower], tmp_path / "upper")
        act(container.path)
        packed = io.BytesIO()
        pack_changes(str(container.upper), str(container.workdir), lower, packed.write)
        store, image = load_layers(tmp_path / "made", LOWER, packed.getvalue())
        mounted = union_mount([Path(path) for path in store.layers_of(image)])
        return Made(container, mounted.path, packed.getvalue())

    return made


def chmod(root: Path) -> None:
    os.chmod(root / "a", 0o600)


def write(root: Path) -> None:
    (root / "d/c").write_bytes(b"new content")


def rename(root: Path) -> None:
    os.rename(root / "b", root / "e/new")


def delete_the_name_that_was_written(root: Path) -> None:
    write(root)
    os.unlink(root / "d/c")


def write_and_add_a_name(root: Path) -> None:
    write(root)
    os.link(root / "e/f/g", root / "d/h")


def replace_a_name(root: Path) -> None:
    chmod(root)
    os.unlink(root / "b")
    (root / "b").write_bytes(b"another file")


def delete_a_directory(root: Path) -> None:
    chmod(root)
    shutil.rmtree(root / "e")


def make_a_directory_anew(root: Path) -> None:
    chmod(root)
    shutil.rmtree(root / "e")
    (root / "e/f").mkdir(parents=True)
    (root / "e/f/own").write_bytes(b"")


def rename_a_directory(root: Path) -> None:
    os.rename(root / "e", root / "moved")
    chmod(root)


def delete_all_names_but_one(root: Path) -> None:
    chmod(root)
    for name in sorted(NAMES - {"d/c"}):
        os.unlink(root / name)


def own_a_symlink(root: Path) -> None:
    os.chown(root / "d/t", 5, 6, follow_symlinks=False)


ACTS = [
    chmod, write, rename, delete_the_name_that_was_written, write_and_add_a_name, replace_a_name,
    delete_a_directory, make_a_directory_anew, rename_a_directory, delete_all_names_but_one, own_a_symlink,
]  # fmt: skip


def links(tree: Snapshot) -> dict[str, int]:
    """How many names each file has: of a directory it depends on the layers that it is in."""
    return {path: entry.nlink for path, entry in tree.items() if entry.type != "directory"}


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_the_image_shows_what_the_container_showed(make: Make, act: Callable[[Path], object]) -> None:
    made = make(act)
    expected, found = snapshot(made.container.path), snapshot(made.image)
    del expected["."], found["."]  # the root directory is told apart: the caller says what it is to be like
    assert_same_tree(expected, found, ignore={"nlink"})
    assert links(expected) == links(found)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_diff_lists_what_commit_packs(make: Make, act: Callable[[Path], object]) -> None:
    made = make(act)
    listed = {(change.kind == "D", change.path[1:].decode()) for change in differences(made.container)}
    with tarfile.open(fileobj=io.BytesIO(made.layer)) as tar:
        packed = {(".wh." in name, name.replace(".wh.", "")) for name in tar.getnames()}
    assert listed == packed


def differences(container: Mounted) -> list[Change]:
    assert container.upper is not None
    assert container.workdir is not None
    lower = [os.fsencode(path) for path in container.lowers]
    return list(changes(os.fsencode(container.upper), os.fsencode(container.workdir), lower, "auto"))


def test_diff_lists_every_name_and_the_directories_on_the_way_there(make: Make) -> None:
    listed = differences(make(chmod).container)
    assert listed == [("C", b"/" + path) for path in (b"a", b"b", b"d", b"d/c", b"e", b"e/f", b"e/f/g")]


def test_the_first_name_has_the_content_and_the_others_are_links_to_it(make: Make) -> None:
    with tarfile.open(fileobj=io.BytesIO(make(write).layer)) as tar:
        files = {info.name: info.linkname if info.islnk() else info.size for info in tar if not info.isdir()}
    assert files == {"a": 11, "b": "a", "d/c": "a", "e/f/g": "a"}


def test_nothing_is_said_of_linked_files_that_did_not_change(make: Make) -> None:
    listed = differences(make(lambda root: (root / "alone").write_bytes(b"new")).container)
    assert listed == [("C", b"/alone")]


def test_nothing_is_said_of_the_other_names_when_one_is_deleted(make: Make) -> None:
    assert differences(make(lambda root: os.unlink(root / "b")).container) == [("D", b"/b")]


@pytest.mark.parametrize("act", [write, delete_the_name_that_was_written], ids=lambda act: act.__name__)
def test_export_has_them_all_too(make: Make, act: Callable[[Path], object], tmp_path: Path) -> None:
    container = make(act).container
    with (tmp_path / "tree.tar").open("wb") as file:
        layers = [str(path) for path in (container.upper, *container.lowers)]
        pack_tree(layers, file.write, str(container.workdir))
    (tmp_path / "tree").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "tree", "-xf", tmp_path / "tree.tar"], check=True)
    expected, found = snapshot(container.path), snapshot(tmp_path / "tree")
    assert_same_tree(expected, found, ignore={"nlink"})
    assert links(expected) == links(found)


@pytest.mark.parametrize("act", [chmod, delete_the_name_that_was_written], ids=lambda act: act.__name__)
def test_umoci_unpacks_the_same(make: Make, act: Callable[[Path], object], tmp_path: Path) -> None:
    needs.commands("umoci")
    made = make(act)
    layout = make_layout(tmp_path / "layout", [LOWER, made.layer], name="tag")
    subprocess.run(["umoci", "raw", "unpack", "--image", f"{layout}:tag", tmp_path / "tree"], check=True)
    expected, found = snapshot(made.container.path), snapshot(tmp_path / "tree")
    del expected["."], found["."]
    assert_same_tree(expected, found, ignore={"nlink"})
    assert links(expected) == links(found)


def test_the_commands_agree(pyunion: Command, tmp_path: Path) -> None:
    needs.commands("busybox")
    needs.fuse_device()
    layers = [busybox(), LOWER]
    pyunion("load", make_layout(tmp_path / "layout", layers, config={"Env": ["PATH=/bin"]}, name="linked:1"))
    pyunion("run", "--name", "c", "linked:1", "chmod", "600", "/a")
    assert {"C /a", "C /b", "C /d/c", "C /e/f/g"} <= set(pyunion("diff", "c").splitlines())
    pyunion("export", "-o", tmp_path / "tree.tar", "c")
    with tarfile.open(tmp_path / "tree.tar") as tar:
        assert {tar.getmember(name).mode for name in NAMES} == {0o600}
    pyunion("commit", "c", "made:1")
    rows = pyunion("run", "--rm", "made:1", "ls", "-l", *(f"/{name}" for name in sorted(NAMES))).splitlines()
    assert {tuple(row.split()[:2]) for row in rows} == {("-rw-------", "4")}
