"""What a layer needs from those below it: their files under a new name, directories it only passes through."""

import os
import stat
import tarfile
from pathlib import Path

import pytest

from runtime.image.errors import Corrupt
from runtime.trees import copy_attributes
from tests.image_store.layouts import archive, load_layers, member
from tests.support import needs
from tests.support.mounts import MountFactory

pytestmark = needs.root
Member = tuple[tarfile.TarInfo, bytes]
DIR, LNK = tarfile.DIRTYPE, tarfile.LNKTYPE


def test_a_hard_link_to_a_file_of_a_lower_layer(tmp_path: Path, union_mount: MountFactory) -> None:
    lower = archive([member("d", DIR), member("d/file", data=b"content", mode=0o4711, uid=5, mtime=1e9)])
    middle = archive([member("other", data=b"x")])
    upper = archive([member("e", DIR, mtime=2e9), member("e/link", LNK, linkname="d/file")])
    above = archive([member("d/.wh.file")])
    store, image = load_layers(tmp_path, lower, middle, upper, above)
    mounted = union_mount([Path(path) for path in store.layers_of(image)])
    st = os.stat(mounted.path / "e/link")
    assert (mounted.path / "e/link").read_bytes() == b"content"
    assert (st.st_uid, stat.S_IMODE(st.st_mode), st.st_mtime) == (5, 0o4711, 1e9)
    assert os.stat(mounted.path / "e").st_mtime == 2e9
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


def attributes(path: Path) -> tuple[int, int, float]:
    st = os.stat(path)
    return stat.S_IMODE(st.st_mode), st.st_uid, st.st_mtime


def test_one_directory_more_does_for_all_layers_that_name_no_directories(
    tmp_path: Path, union_mount: MountFactory
) -> None:
    """The last word on each: d of the middle layer, d/e of the lowest; gone is gone, and new is new."""
    lower = archive([
        member("d", DIR, mode=0o700, uid=7, mtime=1e9), member("d/e", DIR, mode=0o710, uid=8, mtime=2e9),
        member("gone", DIR, mode=0o711), member("again", DIR, mode=0o712),
    ])  # fmt: skip
    middle = archive([member("d", DIR, mode=0o1770, uid=9, mtime=3e9), member(".wh.again"), member("gone/file")])
    layers = [lower, archive([member("d/e/1")]), middle, archive([member("d/e/2"), member("again/2")]),
              archive([member(".wh.gone")]), archive([member("d/5")])]  # fmt: skip
    store, image = load_layers(tmp_path, *layers)
    stack = store.layers_of(image)
    assert len(stack) == len(layers) + 1
    mounted = union_mount([Path(path) for path in stack])
    assert attributes(mounted.path / "d") == (0o1770, 9, 3e9)
    assert attributes(mounted.path / "d/e") == (0o710, 8, 2e9)
    assert attributes(mounted.path / "again")[:2] == (0o755, 0)
    assert sorted(os.listdir(mounted.path)) == ["again", "d"]
    assert sorted(os.listdir(mounted.path / "d/e")) == ["1", "2"]


def test_a_linked_file_stays_below_what_later_layers_do_to_it(tmp_path: Path, union_mount: MountFactory) -> None:
    lower = archive([member("d", DIR, mode=0o700, uid=7, mtime=1e9), member("d/file", data=b"old")])
    layers = [lower, archive([member("d/1")]), archive([member("d/link", LNK, linkname="d/file")]),
              archive([member("d/file", data=b"new")]), archive([member("d/2")])]  # fmt: skip
    store, image = load_layers(tmp_path, *layers)
    mounted = union_mount([Path(path) for path in store.layers_of(image)])
    assert attributes(mounted.path / "d") == (0o700, 7, 1e9)
    assert (mounted.path / "d/link").read_bytes() == b"old"
    assert (mounted.path / "d/file").read_bytes() == b"new"


@pytest.mark.parametrize("top", [[member("file")], [member("./", DIR, mode=0o1751, uid=9, mtime=2e9), member("file")]])
def test_the_root_directory_is_as_the_topmost_layer_says_that_has_it(tmp_path: Path, top: list[Member]) -> None:
    lower = [member(".", DIR, mode=0o750, uid=7, mtime=1e9), member("d", DIR)]
    store, image = load_layers(tmp_path, archive(lower), archive(top))
    store.layers_of(image)
    upper = tmp_path / "upper"
    upper.mkdir()
    copy_attributes(store.root_of(image.config().diff_ids), str(upper))
    assert attributes(upper) == ((0o750, 7, 1e9) if len(top) == 1 else (0o1751, 9, 2e9))


def test_an_opaque_root_hides_all_below(tmp_path: Path, union_mount: MountFactory) -> None:
    store, image = load_layers(tmp_path, archive([member("a")]), archive([member("b"), member(".wh..wh..opq")]))
    mounted = union_mount([Path(path) for path in store.layers_of(image)])
    assert os.listdir(mounted.path) == ["b"]
