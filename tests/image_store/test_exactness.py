"""What comes out of a layer is what went in: beside tar and umoci, in every format, to the nanosecond."""

import gzip
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from runtime.image.archive.load import load
from runtime.image.tar.limits import Limits
from runtime.image.tar.streams import Expanded, sniff
from runtime.image.tar.unpack import unpack
from runtime.image.tar.unpacked import Unpacked
from tests.image_store.layouts import LAYER, archive, make_layout, make_store, member
from tests.support import needs
from tests.support.image import Image
from tests.support.tree import assert_same_tree, snapshot

pytestmark = needs.root
XATTRS = ("--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def unpacked(archive: Path, into: Path) -> Unpacked:
    """Unpack by our own hand."""
    into.mkdir()
    root = os.open(into, os.O_RDONLY)
    try:
        with archive.open("rb", buffering=0) as file:
            beginning = file.read(4)
            file.seek(0)
            with Expanded(file, sniff(beginning), Limits()) as stream:
                return unpack(stream.read, root)
    finally:
        os.close(root)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One of everything."""
    top = tmp_path / "tree"
    top.mkdir(mode=0o750)
    (top / "plain").write_bytes(b"content")
    os.utime(top / "plain", ns=(1_000_000_001, 1_234_567_890_123_456_789))
    (top / "old").write_bytes(b"before 1970")
    os.utime(top / "old", ns=(0, -1_500_000_001))
    os.link(top / "plain", top / "second")
    (top / "dir").mkdir(mode=0o3777)
    os.link(top / "plain", top / "dir/third")
    os.symlink("../plain", top / "dir/link")
    os.symlink("x" * 300, top / "long-link")
    os.chown(top / "dir/link", 7, 8, follow_symlinks=False)
    deep = top / ("d" * 90) / ("e" * 90) / ("f" * 90)
    deep.mkdir(parents=True)
    (deep / ("n" * 200)).write_bytes(b"deep")
    (top / os.fsdecode(b"bytes \xff\xfe\n")).write_bytes(b"")
    (top / "größe").write_bytes(b"utf-8")
    os.mknod(top / "null", 0o020666, os.makedev(1, 3))
    os.mknod(top / "disk", 0o060640, os.makedev(259, 70000))
    os.mkfifo(top / "fifo", 0o622)
    (top / "suid").write_bytes(b"#!")
    os.chown(top / "suid", 1234, 5_000_000)
    os.chmod(top / "suid", 0o6755)
    os.setxattr(top / "suid", "user.note", b"\0binary\xff\n=")
    os.setxattr(top / "plain", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry)
        for entry in ((1, 7, 0xFFFFFFFF), (2, 5, 1234), (4, 5, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
    )
    os.setxattr(top / "dir", "system.posix_acl_access", acl)
    os.setxattr(top / "dir", "system.posix_acl_default", acl)
    with (top / "sparse").open("wb") as file:
        for offset in range(0, 64 << 20, 8 << 20):
            file.seek(offset)
            file.write(b"data" * 2000)
        file.truncate(80 << 20)
    return top


def test_everything_as_pax(tree: Path, tmp_path: Path) -> None:
    run("tar", *XATTRS, "--format=pax", "-C", tree, "-cf", tmp_path / "a.tar", ".")
    result = unpacked(tmp_path / "a.tar", tmp_path / "out")
    assert_same_tree(snapshot(tree), snapshot(tmp_path / "out"))
    assert (result.implied, result.links) == ([], [])


@pytest.mark.parametrize("form", ["--format=gnu", "--format=oldgnu", "--format=posix"])
@pytest.mark.parametrize("sparse", ["", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"])
def test_sparse_files_keep_their_holes(form: str, sparse: str, tree: Path, tmp_path: Path) -> None:
    run("tar", "-S", *filter(None, (sparse,)), form, "-C", tree, "-cf", tmp_path / "a.tar", ".")
    unpacked(tmp_path / "a.tar", tmp_path / "out")
    (tmp_path / "tar").mkdir()
    run("tar", "--numeric-owner", "-C", tmp_path / "tar", "-xf", tmp_path / "a.tar")
    assert_same_tree(snapshot(tmp_path / "tar"), snapshot(tmp_path / "out"))
    blocks = os.stat(tmp_path / "out/sparse").st_blocks
    assert blocks * 512 < 8 << 20
    assert (tmp_path / "out/sparse").read_bytes() == (tree / "sparse").read_bytes()


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "ustar", "v7", "pax"])
def test_formats_beside_tar(form: str, tree: Path, tmp_path: Path) -> None:
    """What each format can't say is lost for tar as for us."""
    subprocess.run(
        ["tar", f"--format={form}", "-C", tree, "-cf", tmp_path / "a.tar", "."], capture_output=True, check=False
    )
    unpacked(tmp_path / "a.tar", tmp_path / "out")
    (tmp_path / "tar").mkdir()
    run("tar", "--numeric-owner", "-p", "-C", tmp_path / "tar", "-xf", tmp_path / "a.tar")
    assert_same_tree(snapshot(tmp_path / "tar"), snapshot(tmp_path / "out"))


@pytest.mark.parametrize("pack", ["gzip -9", "gzip -1", "zstd -q -3", "zstd -q -19 --long=24", "cat"])
def test_compressions(pack: str, tree: Path, tmp_path: Path) -> None:
    needs.commands("zstd")
    run("sh", "-c", f"tar --format=pax -C '{tree}' -c . | {pack} > '{tmp_path}/a'; cat '{tmp_path}/a' > '{tmp_path}/b'")
    unpacked(tmp_path / "b", tmp_path / "out")
    assert_same_tree(snapshot(tree, xattrs=False), snapshot(tmp_path / "out", xattrs=False))


@pytest.mark.parametrize(("said", "pack"), [
    (f"{LAYER}+gzip", bytes), (LAYER, gzip.compress), (f"{LAYER}+gzip", zstd.compress),
])  # fmt: skip
def test_how_a_layer_is_packed_its_bytes_say(said: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Media types are wrong at times, and no other engine minds."""
    layer = archive([member("file", data=b"content")])
    store = make_store(tmp_path)
    (image,) = load(store, str(make_layout(tmp_path / "layout", [layer], pack=pack, layer_type=said)))
    (path,) = store.layers_of(image)
    assert Path(path, "file").read_bytes() == b"content"


def test_compressed_streams_one_after_the_other(tree: Path, tmp_path: Path) -> None:
    """As zstd:chunked and parallel gzip write them."""
    run("tar", *XATTRS, "--format=pax", "-C", tree, "-cf", tmp_path / "a.tar", ".")
    data = (tmp_path / "a.tar").read_bytes()
    parts = [data[start : start + 100_000] for start in range(0, 2_000_000, 100_000)] + [data[2_000_000:]]
    (tmp_path / "many.gz").write_bytes(b"".join(gzip.compress(part, 1) for part in parts))
    unpacked(tmp_path / "many.gz", tmp_path / "out")
    assert_same_tree(snapshot(tree), snapshot(tmp_path / "out"))


def test_beside_umoci(tree: Path, tmp_path: Path) -> None:
    needs.commands("umoci")
    run("tar", *XATTRS, "--format=pax", "-C", tree, "-cf", tmp_path / "a.tar", ".")
    layout = make_layout(tmp_path / "layout", [(tmp_path / "a.tar").read_bytes()], name="tag")
    run("umoci", "raw", "unpack", "--image", f"{layout}:tag", tmp_path / "umoci")
    store = make_store(tmp_path)
    (image,) = load(store, str(layout))
    (layer,) = store.layers_of(image)
    assert_same_tree(snapshot(tmp_path / "umoci"), snapshot(layer))
    assert_same_tree(snapshot(tree), snapshot(layer))


@pytest.mark.image
def test_real_layers(image: Image, tmp_path: Path) -> None:
    """A Debian with its compiler and an application, as tar packs and we unpack it."""
    layer = image.layers[0]
    run("tar", *XATTRS, "--format=pax", "-C", layer, "-cf", tmp_path / "a.tar", ".")
    unpacked(tmp_path / "a.tar", tmp_path / "out")
    assert_same_tree(
        snapshot(layer, content=False), snapshot(tmp_path / "out", content=False), skip=lambda path: "moved" in path
    )
