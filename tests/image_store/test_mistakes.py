"""What goes wrong is told in one line that names the culprit, and leaves the images as they were."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.image_store.conftest import Command
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs

pytestmark = needs.root
NAME = "example.org/test:1"


@pytest.fixture
def image(tmp_path: Path, pyunion: Command) -> Path:
    """The store's layout, with one image in it."""
    pyunion("load", make_layout(tmp_path / "layout", [archive([member("file", data=os.urandom(100_000))])]))
    return tmp_path / "root/images"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of half a megabyte in the store's place."""
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", root], check=True)
    yield root
    subprocess.run(["umount", "-l", root], check=True)


def one_line(error: str) -> str:
    assert error.endswith("\n")
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(("content", "complaint"), [
    (b"no archive\n" * 100, "it is no tar archive"),
    (b"short", "it is no tar archive"),
    (b"", "it is neither an OCI image nor one that docker saved"),
    (archive([member("other")]), "it is neither an OCI image nor one that docker saved"),
    (archive([member("manifest.json", data=b"{")]), "manifest.json isn't JSON"),
    (archive([member("repositories", data=b"{}"), member("ab/layer.tar")]), "docker before 1.10 saved it"),
    (b"\x1f\x8bnonsense", "not a gzip stream"),
    (b"\x28\xb5\x2f\xfdnonsense", "not a zstd stream"),
])  # fmt: skip
def test_what_is_no_image_is_not_loaded(pyunion: Command, tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    error = one_line(pyunion("load", "-i", file, status=1))
    assert error.startswith(f"pyunion load: {file}: ")
    assert complaint in error
    assert one_line(pyunion("load", stdin=content, status=1)).startswith("pyunion load: standard input: ")


@pytest.mark.parametrize("config", [
    {"OnBuild": [5]}, {"OnBuild": "RUN x"}, {"Shell": [["sh"]]}, {"Env": {"A": "b"}}, {"User": "\0"},
    {"Volumes": {"/a\0b": {}}}, {"WorkingDir": "/\0"},
])  # fmt: skip
def test_a_configuration_of_other_types_is_not_loaded(
    pyunion: Command, config: dict[str, object], tmp_path: Path
) -> None:
    layout = make_layout(tmp_path / "layout", [archive([member("file")])], config=config)
    assert next(iter(config)) in one_line(pyunion("load", layout, status=1))


@pytest.mark.parametrize("words", [("load",), ("import", "-")])
def test_archives_are_not_typed(words: tuple[str, ...], tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "tools.main", f"--root={tmp_path}/root", f"--runroot={tmp_path}/run", *words]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 1
    assert "standard input is a terminal" in one_line(done.stderr)


def test_a_digest_is_nothing_to_be_chosen(pyunion: Command, tmp_path: Path) -> None:
    name = f"127.0.0.1:9/x@sha256:{64 * '0'}"
    pyunion("load", make_layout(tmp_path / "layout", [archive([member("file")])]))
    for words in (("tag", "example.org/test:1", name), ("import", tmp_path, name), ("build", "-t", name, tmp_path)):
        assert "a digest can't be given to an image" in one_line(pyunion(*words, status=1))
    assert "the image has another digest, sha256:" in one_line(pyunion("push", "example.org/test:1", name, status=1))


def test_what_is_no_tree_is_not_imported(pyunion: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"no archive\n" * 100)
    assert f"{file}: it is no tar archive" in one_line(pyunion("import", file, "x:1", status=1))
    assert "No such file or directory" in one_line(pyunion("import", tmp_path / "nothing", status=125))
    assert pyunion("images", "-q") == ""


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("words", [("images",), ("tag", NAME, "x"), ("rmi", NAME), ("prune",), ("history", NAME)])
@pytest.mark.parametrize(("content", "complaint"), [
    (b"{", "a document isn't JSON"),
    (b'{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}', "invalid digest"),
])  # fmt: skip
def test_a_broken_index_is_named_and_nothing_is_removed(
    pyunion: Command, tmp_path: Path, words: tuple[str, ...], content: bytes, complaint: str
) -> None:
    layout = tmp_path / "root/images"
    (layout / "index.json").write_bytes(content)
    blobs = sorted(os.listdir(layout / "blobs/sha256"))
    error = one_line(pyunion(*words, status=1))
    assert f"{layout}/index.json: " in error
    assert complaint in error
    assert sorted(os.listdir(layout / "blobs/sha256")) == blobs


def test_a_missing_blob_is_told_of_its_image(pyunion: Command, image: Path) -> None:
    about = json.loads(pyunion("inspect", NAME))[0]
    (image / "blobs/sha256" / about["Digest"].removeprefix("sha256:")).unlink()
    for words in (("history", NAME), ("inspect", NAME), ("save", NAME), ("images",)):
        assert f"image {NAME} is damaged: blob {about['Digest']} is not in the store" in one_line(
            pyunion(*words, status=1))  # fmt: skip
    assert f"Untagged: {NAME}" in pyunion("rmi", NAME)


@pytest.mark.parametrize("words", [
    ("run", "--rm", "--host", "true"), ("volume", "create", "v"), ("network", "create", "n"),
])  # fmt: skip
def test_a_full_disk_is_named_where_a_record_cannot_be_written(
    pyunion: Command, small_disk: Path, words: tuple[str, ...]
) -> None:
    pyunion("network", "ls")
    with suppress(OSError), open(small_disk / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    assert f"{small_disk}/" in one_line(error := pyunion(*words, status=125))
    assert "No space left on device" in error
    (small_disk / "ballast").unlink()
    assert pyunion("ps", "-aq") == ""


def test_a_full_disk_is_named_and_nothing_stays(pyunion: Command, tmp_path: Path, small_disk: Path) -> None:
    pyunion("load", make_layout(tmp_path / "small", [archive([member("file")])], name="small:1"))
    large = make_layout(tmp_path / "large", [archive([member("file", data=os.urandom(600_000))])])
    assert f"{small_disk}: No space left on device" in one_line(pyunion("load", large, status=125))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(600_000))
    assert f"{small_disk}: No space left on device" in one_line(pyunion("import", folder, "x:1", status=125))
    bomb = make_layout(tmp_path / "bomb", [archive([member("file", data=bytes(600_000))])])
    assert "No space left on device" in one_line(pyunion("load", bomb, status=125))
    pyunion("prune")
    assert pyunion("images", "--format", "{{.Repository}}") == "small\n"
    assert os.listdir(small_disk / "partial") == os.listdir(small_disk / "drafts") == []
    assert len(os.listdir(small_disk / "layers")) == 1


def test_a_store_that_can_not_be_written_can_be_read(pyunion: Command, tmp_path: Path, small_disk: Path) -> None:
    pyunion("load", make_layout(tmp_path / "small", [archive([member("file")])]))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert pyunion("images", "-q")
    pyunion("save", "-o", tmp_path / "saved", NAME)
    assert "Read-only file system" in one_line(pyunion("rmi", NAME, status=125))
    assert "Read-only file system" in one_line(pyunion("load", "-i", tmp_path / "saved", status=125))


@pytest.mark.usefixtures("image")
def test_a_device_or_a_pipe_to_save_to_is_not_replaced(pyunion: Command, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    pyunion("save", "-o", pipe, NAME)
    reader.join()
    assert b"manifest.json" in received[0]
    full = tmp_path / "full"
    os.mknod(full, 0o020600, os.makedev(1, 7))
    assert f"{full}: No space left on device" in one_line(pyunion("save", "-o", full, NAME, status=125))
