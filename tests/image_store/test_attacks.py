"""Attacks on unpacking: each class of the list has its tests here, and each leaves the world outside as it was."""

import gzip
import json
import os
import re
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from runtime.image.archive.load import load
from runtime.image.digest import parse_digest
from runtime.image.errors import Corrupt, ImageError
from runtime.image.media import MOST_DOCUMENT_BYTES, parse_document
from runtime.image.tar.limits import Limits
from runtime.image.tar.streams import Expanded
from runtime.image.tar.unpack import unpack
from tests.image_store.hostile import corpus
from tests.image_store.layouts import LAYER, archive, load_layers, make_layout, make_store, member
from tests.support import needs
from tests.support.tree import assert_same_tree, snapshot

pytestmark = needs.root
HOUSE = Path(__file__).resolve().parent.parent.parent
TRICKS = sorted(corpus("/x"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A tree outside the store that nothing may change."""
    folder = tmp_path / "canary"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_bytes(b"precious")
    (folder / "sub/file").write_bytes(b"precious too")
    return folder


def benign(name: str) -> bytes:
    members = [member(name, tarfile.DIRTYPE), member(f"{name}/file", data=name.encode()), member("shared", data=b"s")]
    return archive(members)


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("trick", TRICKS)
def test_row_9_no_member_reaches_outside_its_layer(trick: str, position: int, canary: Path, tmp_path: Path) -> None:
    layers = [benign("below"), benign("above")]
    layers.insert(position, corpus(str(canary))[trick])
    before, etc = snapshot(canary), os.stat("/etc/passwd")
    store = make_store(tmp_path)
    outside = set(os.listdir(tmp_path)) | {"layout"}
    try:
        (image,) = load(store, str(make_layout(tmp_path / "layout", layers)))
        stack = store.layers_of(image)
    except (ImageError, OSError) as error:
        print(error)  # one line for the user; a traceback would be a bug
        stack = []
    assert_same_tree(before, snapshot(canary))
    assert os.stat("/etc/passwd").st_ctime_ns == etc.st_ctime_ns
    assert set(os.listdir(tmp_path)) == outside
    assert [name for name in os.listdir(tmp_path / "root/drafts") if not name.endswith(".lock")] == []
    for layer in stack:
        assert os.path.realpath(layer).startswith(str(tmp_path / "root/layers"))
        _check_neighbours(layer)


def _check_neighbours(layer: str) -> None:
    """A layer of ours beside the hostile one is as it was made."""
    for name in ("below", "above"):
        path = Path(layer, name, "file")
        if path.exists():
            assert path.read_text() == name


def test_row_9_names_of_the_layer_stay_in_it_through_its_own_symlinks(tmp_path: Path) -> None:
    """As with a merged /usr: a later member through a symlink of the same layer lands where the container sees it."""
    layer = archive([
        member("usr/lib", tarfile.DIRTYPE), member("lib", tarfile.SYMTYPE, linkname="/usr/lib"),
        member("lib/x/file", data=b"here"),
    ])  # fmt: skip
    store, image = load_layers(tmp_path, layer)
    (path,) = store.layers_of(image)
    assert Path(path, "usr/lib/x/file").read_bytes() == b"here"
    assert os.readlink(f"{path}/lib") == "/usr/lib"


def test_row_9_directories_through_a_symlink_get_what_the_archive_says_of_them(tmp_path: Path) -> None:
    layer = archive([
        member("usr/lib", tarfile.DIRTYPE), member("lib", tarfile.SYMTYPE, linkname="usr/lib"),
        member("lib/said", tarfile.DIRTYPE, mode=0o711, mtime=77), member("lib/said/file"), member("lib/new/dir/file"),
    ])  # fmt: skip
    old = os.umask(0o077)
    try:
        store, image = load_layers(tmp_path, layer)
        said, new = (os.stat(f"{store.layers_of(image)[0]}/usr/lib/{name}") for name in ("said", "new/dir"))
    finally:
        os.umask(old)
    assert (stat.S_IMODE(said.st_mode), said.st_mtime) == (0o711, 77)
    assert stat.S_IMODE(new.st_mode) == 0o755


def test_what_was_said_of_a_directory_that_is_replaced_counts_no_more(tmp_path: Path) -> None:
    layer = archive([
        member("d", tarfile.DIRTYPE), member("d/.wh.gone"), member("d/.wh..wh..opq"),
        member("d/link", tarfile.LNKTYPE, linkname="elsewhere"), member("d", data=b"a file now"),
    ])  # fmt: skip
    store, image = load_layers(tmp_path, layer)
    (path,) = store.layers_of(image)
    assert Path(path, "d").read_bytes() == b"a file now"


def test_row_10_no_extractor_of_the_standard_library_is_used() -> None:
    banned = re.compile(r"\btarfile\b|\bextractall\b|\bunpack_archive\b|\.extract\(")
    found = [
        f"{path.relative_to(HOUSE)}: {line.strip()}"
        for room in ("runtime", "unionfs", "tools")
        for path in (HOUSE / room).rglob("*.py")
        for line in path.read_text().splitlines()
        if banned.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", ".wh..wh.x", "d/.wh.", "d/.wh..", "d/.wh..."])
def test_row_11_a_whiteout_is_of_one_proper_name(name: str, tmp_path: Path) -> None:
    hostile = archive([member(name)])
    if name == ".wh..wh.x":  # the reserved names of aufs are skipped
        store, image = load_layers(tmp_path, benign("d"), hostile)
        assert os.listdir(store.layers_of(image)[0]) == []
        return
    with pytest.raises(Corrupt, match="whiteout of nothing"):
        load_layers(tmp_path, benign("d"), hostile)


def test_row_11_a_whiteout_does_not_go_through_a_symlink(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (neighbour,) = load(store, str(make_layout(tmp_path / "one", [benign("below")])))
    (layer,) = store.layers_of(neighbour)
    before = snapshot(layer)
    hostile = archive([member("out", tarfile.SYMTYPE, linkname=layer), member("out/.wh.shared")])
    with pytest.raises(Corrupt, match="no directory of the layer"):
        load(store, str(make_layout(tmp_path / "two", [hostile])))
    assert_same_tree(before, snapshot(layer))


def test_row_11_whiteouts_are_about_lower_layers_alone_wherever_they_stand(tmp_path: Path) -> None:
    lower = archive([member("d/old"), member("gone"), member("kept"), member("turned/x")])
    upper = archive([
        member(".wh.d"), member("d", tarfile.DIRTYPE), member("d/new"), member("kept", data=b"new"), member(".wh.kept"),
        member(".wh.gone"), member("turned", data=b"file"), member(".wh.turned"),
    ])  # fmt: skip
    store, image = load_layers(tmp_path, lower, upper)
    top = store.layers_of(image)[0]
    assert os.getxattr(f"{top}/d", "trusted.overlay.opaque") == b"y"
    assert os.listdir(f"{top}/d") == ["new"]
    assert Path(top, "kept").read_bytes() == b"new"
    assert Path(top, "turned").read_bytes() == b"file"
    st = os.lstat(f"{top}/gone")
    assert (st.st_rdev, st.st_mode & 0o170000) == (0, 0o020000)


class _Zeros:
    """A compressed stream of zeros, made as it is read."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int, /) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_row_12_ten_gigabytes_of_zeros_are_refused(compression: str, tmp_path: Path) -> None:
    squeeze: Callable[[bytes], bytes] = gzip.compress if compression == "gzip" else zstd.compress
    part = squeeze(bytes(64 << 20))
    header = member("zeros", size=10 << 30)[0].tobuf(tarfile.GNU_FORMAT)
    pieces = [squeeze(header), *[part] * 160]
    os.mkdir(tmp_path / "out")
    root = os.open(tmp_path / "out", os.O_RDONLY)
    limits = Limits(free_bytes=256 << 20)
    try:
        with pytest.raises(Corrupt, match="bomb"), Expanded(_Zeros(pieces), compression, limits) as stream:
            unpack(stream.read, root, limits=limits)
    finally:
        os.close(root)
    assert os.stat(tmp_path / "out/zeros").st_size < 400 << 20


def test_row_12_members_are_counted(tmp_path: Path) -> None:
    data = archive([member(f"f{number}") for number in range(200)])
    os.mkdir(tmp_path / "out")
    root = os.open(tmp_path / "out", os.O_RDONLY)
    pieces = iter([data])
    try:
        with pytest.raises(Corrupt, match="more than 100 members"):
            unpack(lambda: next(pieces, b""), root, limits=Limits(members=100))
    finally:
        os.close(root)


def test_row_12_headers_and_names_have_an_end(tmp_path: Path) -> None:
    for number, name in enumerate(["n/" * 20_000 + "x", "n" * (2 << 20)]):
        with pytest.raises(Corrupt):
            load_layers(tmp_path / str(number), archive([member(name)]))
    bomb = archive([member("a", pax_headers={"comment": "x" * (2 << 20)})])
    with pytest.raises(Corrupt, match="header of"):
        load_layers(tmp_path / "pax", bomb)


def test_row_12_documents_have_an_end(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", [benign("a")], change_manifest=lambda manifest: manifest.update(
        annotations={"x": "y" * MOST_DOCUMENT_BYTES}))  # fmt: skip
    with pytest.raises(Corrupt):
        load(make_store(tmp_path), str(layout))


@pytest.mark.parametrize("digest", [
    "sha256:../../x", "../../x", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 63 + "\n",
    "md5:" + "a" * 32, "sha256:" + "a" * 64 + "/..", "", None, 5, "sha512:" + "a" * 64, "sha256:" + "а" * 64,
])  # fmt: skip
def test_row_13_no_digest_is_a_path(digest: Any, tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="invalid digest"):
        parse_digest(digest)

    def forge(manifest: dict[str, Any]) -> None:
        manifest["layers"][0]["digest"] = digest

    layout = make_layout(tmp_path / "layout", [benign("a")], change_manifest=forge)
    with pytest.raises(Corrupt):
        load(make_store(tmp_path), str(layout))


MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize(("document", "media_type"), [
    ({"schemaVersion": 2, "manifests": [], "layers": [], "config": {}}, ""),
    ({"schemaVersion": 2, "manifests": [], "layers": [], "config": {}}, MANIFEST_TYPE),
    ({"schemaVersion": 2, "manifests": [], "config": {}}, INDEX_TYPE),
    ({"schemaVersion": 2, "manifests": [], "fsLayers": []}, INDEX_TYPE),
    ({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}, MANIFEST_TYPE),
    ({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "manifests": []}, ""),
    ({"schemaVersion": 1, "fsLayers": []}, ""),
    ({"schemaVersion": 2, "mediaType": "text/html"}, ""),
    ([], ""),
])  # fmt: skip
def test_row_13_a_document_is_one_thing(document: Any, media_type: str) -> None:
    with pytest.raises(Corrupt):
        parse_document(json.dumps(document).encode(), media_type)


def test_row_13_a_key_twice_is_refused() -> None:
    with pytest.raises(Corrupt, match="twice"):
        parse_document(b'{"schemaVersion": 2, "manifests": [], "manifests": []}')


def test_row_13_what_a_blob_is_not_is_not_loaded(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", [benign("a")])
    for blob in (layout / "blobs/sha256").iterdir():
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    store = make_store(tmp_path)
    with pytest.raises(Corrupt):
        load(store, str(layout))
    assert store.images() == []


def test_row_13_a_layer_must_have_the_content_that_the_configuration_says(tmp_path: Path) -> None:
    """The packed bytes are right, what they unpack to isn't: the diff id is checked as well."""
    layout = make_layout(tmp_path / "layout", [benign("a")], pack=lambda data: gzip.compress(benign("b"), 1))
    store = make_store(tmp_path)
    with pytest.raises(Corrupt, match="layer's content has the digest"):
        load(store, str(layout))
    assert os.listdir(tmp_path / "root/layers") == []


def test_foreign_layers_are_refused_by_name(tmp_path: Path) -> None:
    layout = make_layout(
        tmp_path / "layout", [benign("a")], layer_type=LAYER.replace(".tar", ".nondistributable.tar") + "+gzip"
    )
    with pytest.raises(Corrupt):
        load(make_store(tmp_path), str(layout))
