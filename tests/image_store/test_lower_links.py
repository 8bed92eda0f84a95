"""What a layer needs from those below it: their files under a new name, directories it only passes through."""

import os
import stat
import tarfile
from pathlib import Path

import pytest

from runtime.image.errors import Corrupt
from tests.image_store.layouts import archive, load_layers, member
from tests.support import needs
from tests.support.mounts import MountFactory

pytestmark = needs.root
DIR, LNK = tarfile.DIRTYPE, tarfile.LNKTYPE


def test_a_hard_link_to_a_file_of_a_lower_layer(tmp_path: Path, union_mount: MountFactory) -> None:
    lower = archive([member("d", DIR), member("d/file", data=b"content", mode=0o4711, uid=5, mtime=1e9)])
    middle = archive([member("other", data=b"x")])
    upper = archive([member("e", DIR), member("e/link", LNK, linkname="d/file")])
    above = archive([member("d/.wh.file")])
    store, image = load_layers(tmp_path, lower, middle, upper, above)
    mounted = union_mount([Path(path) for path in store.layers_of(image)])
    st = os.stat(mounted.path / "e/link")
    assert (mounted.path / "e/link").read_bytes() == b"content"
    assert (st.st_uid, stat.S_IMODE(st.st_mode), st.st_mtime) == (5, 0o4711, 1e9)
    assert not (mounted.path / "d/file").exists()


def test_both_names_are_one_file(tmp_path: Path, union_mount: MountFactory) -> None:
    lower = archive([member("file", data=b"content")])
    upper = archive([member("link", LNK, linkname="file")])
    store, image = load_layers(tmp_path, lower, upper)
    mounted = union_mount([Path(path) for path in store.layers_of(image)])
    assert os.path.samefile(mounted.path / "file", mounted.path / "link")


def test_a_hard_link_to_nothing_is_refused(tmp_path: Path) -> None:
    store, image = load_layers(tmp_path, archive([member("a")]), archive([member("link", LNK, linkname="b")]))
    with pytest.raises(Corrupt, match="isn't there"):
        store.layers_of(image)


def test_a_directory_on_the_way_keeps_what_the_lower_layer_says(tmp_path: Path, union_mount: MountFactory) -> None:
    lower = archive([member("d", DIR, mode=0o1770, uid=7, gid=8, mtime=1e9), member("d/old")])
    upper = archive([member("d/new")])
    store, image = load_layers(tmp_path, lower, upper)
    mounted = union_mount([Path(path) for path in store.layers_of(image)])
    st = os.stat(mounted.path / "d")
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime) == (0o1770, 7, 8, 1e9)
    assert sorted(os.listdir(mounted.path / "d")) == ["new", "old"]


def test_an_opaque_root_hides_all_below(tmp_path: Path, union_mount: MountFactory) -> None:
    store, image = load_layers(tmp_path, archive([member("a")]), archive([member("b"), member(".wh..wh..opq")]))
    mounted = union_mount([Path(path) for path in store.layers_of(image)])
    assert os.listdir(mounted.path) == ["b"]
