"""The store on disk: others read it as it lies, processes share it, kills don't hurt it, what nobody uses goes."""

import itertools
import json
import os
import subprocess
import sys
import tarfile
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.image.archive.load import load
from runtime.image.digest import of
from runtime.image.errors import Corrupt, Missing
from runtime.image.obtain import obtain
from runtime.image.platform import parse_platform
from runtime.image.reference import parse_reference
from runtime.image.store import ImageStore
from runtime.image.store.locks import locked_if_free
from tests.image_store.layouts import archive, load_layers, make_layout, make_store, member
from tests.support import needs

pytestmark = needs.root
INDEX = "application/vnd.oci.image.index.v1+json"
HOUSE = Path(__file__).resolve().parent.parent.parent


def layers(count: int = 3, files: int = 5) -> list[bytes]:
    return [
        archive([
            member(f"d{number}", tarfile.DIRTYPE),
            *(member(f"d{number}/{name}", data=os.urandom(100) * 50) for name in range(files)),
            member(f"d{number}/link", tarfile.SYMTYPE, linkname="0"),
            member(f"d{number}/hard", tarfile.LNKTYPE, linkname=f"d{number}/0"),
            member(f".wh.gone{number}"),
        ])
        for number in range(count)
    ]  # fmt: skip


def spawn(verb: str, folder: Path, what: Path | str, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.image_store.loader", verb, str(folder), str(what), *more]
    return subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


def test_skopeo_and_umoci_read_it_as_it_lies(tmp_path: Path) -> None:
    needs.commands("skopeo", "umoci")
    store, image = load_layers(tmp_path, *layers())
    name = image.names[0]
    inspect = ["skopeo", "inspect", f"oci:{store.directory}:{name}"]
    seen = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
    assert seen["Digest"] == str(image.descriptor.digest)
    assert len(seen["Layers"]) == 3
    listed = subprocess.run(["umoci", "ls", "--layout", store.directory], check=True, capture_output=True, text=True)
    assert listed.stdout.split() == [name]
    copy = ["skopeo", "copy", "-q", f"oci:{store.directory}:{name}", f"oci:{tmp_path}/copy:x"]
    subprocess.run(copy, check=True, capture_output=True)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_names_tags_digests_and_ids(algorithm: str, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (image,) = load(store, str(make_layout(tmp_path / "layout", layers(), algorithm=algorithm)))
    assert store.layers_of(image)
    digest, identity = image.descriptor.digest, image.id
    digits = identity.hex
    for text in ("example.org/test:1", f"example.org/test@{digest}", str(identity), digits[:12], digits[:3]):
        assert store.resolve(text).id == identity
    for text in ("example.org/test", "test:1", "example.org/other@" + str(digest), "sha256:" + "0" * 64, "zz", ""):
        with pytest.raises(Missing):
            store.resolve(text)
    store.tag(image, parse_reference("debian"))
    complete = "docker.io/library/debian:latest"
    assert store.resolve(complete).names == [complete, "example.org/test:1"]


def test_a_name_that_moves_leaves_its_image_without_one(tmp_path: Path) -> None:
    store, first = load_layers(tmp_path, *layers())
    (second,) = load(store, str(make_layout(tmp_path / "second", layers())))
    assert store.resolve("example.org/test:1").id == second.id
    assert store.resolve(str(first.id)).names == []
    store.remove(store.resolve(str(first.id)))
    assert store.collect(set)
    assert [image.id for image in store.images()] == [second.id]
    store.layers_of(second)


def test_layers_are_shared_and_counted(tmp_path: Path) -> None:
    shared, own = layers(2), layers(1)
    store, first = load_layers(tmp_path, *shared)
    (second,) = load(store, str(make_layout(tmp_path / "second", [*shared, *own], name="example.org/second:1")))
    assert len(os.listdir(tmp_path / "root/layers")) == 3
    in_use = set(store.layers_of(second)[:1])
    store.remove(second)
    store.collect(lambda: in_use)
    assert len(os.listdir(tmp_path / "root/layers")) == 3
    store.collect(set)
    assert len(os.listdir(tmp_path / "root/layers")) == 2
    store.remove(first)
    store.collect(set)
    assert os.listdir(tmp_path / "root/layers") == []
    assert files_below(tmp_path / "root/images/blobs") == []


def test_what_others_put_into_the_layout_is_kept(tmp_path: Path) -> None:
    needs.commands("skopeo")
    store, image = load_layers(tmp_path, *layers())
    foreign = make_layout(tmp_path / "foreign", layers(2), name="x")
    entry = json.loads((foreign / "index.json").read_text())["manifests"][0]
    del entry["annotations"]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    (foreign / "blobs/sha256" / of(index).hex).write_bytes(index)
    named = {"mediaType": INDEX, "digest": str(of(index)), "size": len(index),
             "annotations": {"org.opencontainers.image.ref.name": "x"}}  # fmt: skip
    (foreign / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    copy = ["skopeo", "copy", "-q", "--all", f"oci:{foreign}:x", f"oci:{store.directory}:theirs"]
    subprocess.run(copy, check=True, capture_output=True)
    assert store.collect(set) == 0
    again = ["skopeo", "copy", "-q", "--all", f"oci:{store.directory}:theirs", f"oci:{tmp_path}/again:x"]
    subprocess.run(again, check=True, capture_output=True)
    assert store.resolve("example.org/test:1").id == image.id


def test_nothing_is_collected_while_somebody_adds(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with store.adding():
        store.put_bytes(b"not named yet")
        assert make_store(tmp_path).collect(set) is None
        assert store.has_blob(of(b"not named yet"))
    assert store.collect(set) == len(b"not named yet")


def test_what_is_in_use_is_asked_when_nobody_can_add_any_more(tmp_path: Path) -> None:
    """Else what a container took up meanwhile would be removed with its image."""
    store = make_store(tmp_path)
    free = []

    def in_use() -> set[str]:
        with locked_if_free(f"{tmp_path}/root/locks/use") as is_free:
            free.append(is_free)
        return set()

    store.collect(in_use)
    assert free == [False]


def test_an_index_without_a_list_is_an_empty_one(tmp_path: Path) -> None:
    """As Go's tools write it when they took the last image out."""
    store, _ = load_layers(tmp_path, *layers())
    Path(store.directory, "index.json").write_text('{"schemaVersion": 2, "manifests": null}')
    assert store.images() == []
    assert store.collect(set)


@pytest.mark.parametrize(("said", "wanted", "serves"), [
    ({"variant": "v6"}, "linux/arm/v7", True), ({"variant": "v7"}, "linux/arm/v6", False), ({}, "linux/arm/v5", True),
    ({}, "linux/arm64", False),
])  # fmt: skip
def test_an_image_that_is_here_serves_what_it_runs_on(
    said: dict[str, Any], wanted: str, serves: bool, tmp_path: Path
) -> None:
    store = make_store(tmp_path)
    load(store, str(make_layout(tmp_path / "layout", layers(), architecture="arm", **said)))
    with nullcontext() if serves else pytest.raises(Missing, match="is here for linux/arm/v7, not for"):
        obtain(store, "example.org/test:1", parse_platform(wanted), "never")


def test_unknown_fields_survive(tmp_path: Path) -> None:
    _, image = load_layers(tmp_path, *layers(1))
    assert image.config().raw["made.by"] == "a test"


def test_a_blob_is_resumed_where_it_was_cut(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    data = os.urandom(100_000)
    with store.write_blob(of(data), len(data)) as writer:
        writer.write(data[:60_000])
    assert not store.has_blob(of(data))
    with store.write_blob(of(data), len(data)) as writer:
        assert writer.offset == 60_000
        writer.write(data[60_000:])
        writer.commit()
    with store.open_blob(of(data)) as file:
        assert file.read() == data
    with store.write_blob(of(data), len(data)) as writer:
        assert writer.finished
    assert os.listdir(tmp_path / "root/partial") == []


def test_a_blob_that_is_another_is_dropped(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with store.write_blob(of(b"right"), 5) as writer, pytest.raises(Corrupt, match="digest"):
        writer.write(b"wrong")
        writer.commit()
    with store.write_blob(of(b"right"), 5) as writer:
        assert writer.offset == 0
        with pytest.raises(Corrupt, match="more than"):
            writer.write(b"righteous")
        writer.write(b"right")
        writer.commit()


def test_two_writers_of_one_blob_make_it_once(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    data = os.urandom(200_000)
    wrote = []

    def write() -> None:
        with make_store(tmp_path).write_blob(of(data), len(data)) as writer:
            if not writer.finished:
                writer.write(data)
                writer.commit()
                wrote.append(1)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrote == [1]
    assert store.has_blob(of(data))


def test_processes_load_at_once(tmp_path: Path) -> None:
    """The same layers under different names; none is lost, each layer is unpacked once."""
    shared = layers(4, 30)
    layouts = [make_layout(tmp_path / f"l{n}", shared, name=f"example.org/n{n}:1") for n in range(4)]
    processes = [spawn("load", tmp_path, layout) for layout in layouts]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    store = make_store(tmp_path)
    for number in range(4):
        assert len(store.layers_of(store.resolve(f"example.org/n{number}:1"))) == 4
    assert len(os.listdir(tmp_path / "root/layers")) == 4
    assert os.listdir(tmp_path / "root/drafts") == os.listdir(tmp_path / "root/partial") == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_during_every_step_of_load(tmp_path: Path) -> None:
    """A finished image stays whole, the next load succeeds, and what is left over a collection clears."""
    store, finished = load_layers(tmp_path, *layers(1))
    expected = store.layers_of(finished)
    other = make_layout(tmp_path / "other", layers(2, 2), name="example.org/other:1")
    probe = tmp_path / "probe"
    probe.mkdir()
    process = spawn("load", probe, other)
    steps = int(process.communicate(timeout=60)[0])
    assert steps > 40
    for step in range(1, steps + 1, max(1, steps // 45)):
        process = spawn("load", tmp_path, other, str(step))
        process.communicate(timeout=60)
        assert process.returncode == -9
        _check_after_a_kill(store, expected, tmp_path)
    process = spawn("load", tmp_path, other)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(store.layers_of(store.resolve("example.org/other:1"))) == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_during_every_step_of_a_removal(tmp_path: Path) -> None:
    """The image is there, whole, or it is gone; another that shares a layer with it stays as it is."""
    shared, *own = layers(3, 3)
    store, finished = load_layers(tmp_path, shared)
    expected = store.layers_of(finished)
    other = make_layout(tmp_path / "other", [shared, *own, archive([member("d1/new")])], name="example.org/other:1")
    (image,) = load(store, str(other))
    files = [files_below(Path(path)) for path in store.layers_of(image)]
    for kills in itertools.count():
        process = spawn("remove", tmp_path, "example.org/other:1", str(1 + 3 * kills))
        process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -9
        (image,) = load(store, str(other))
        assert [files_below(Path(path)) for path in store.layers_of(image)] == files
        _check_after_a_kill(store, expected, tmp_path)
        load(store, str(other))
    assert kills > 10


def test_processes_load_and_remove_the_same_at_once(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", [*layers(2, 3), archive([member("d1/new")])])
    processes = [spawn("churn", tmp_path, layout) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    store = make_store(tmp_path)
    (image,) = load(store, str(layout))
    assert len(store.layers_of(image)) == 4
    store.remove(image)
    store.collect(set)
    assert os.listdir(tmp_path / "root/layers") == os.listdir(tmp_path / "root/drafts") == []
    assert os.listdir(tmp_path / "root/partial") == files_below(tmp_path / "root/images/blobs") == []


def _check_after_a_kill(store: ImageStore, expected: list[str], folder: Path) -> None:
    assert store.layers_of(store.resolve("example.org/test:1")) == expected
    for image in store.images():
        store.layers_of(image)  # whatever is named is whole
    with suppress(Missing):
        store.remove(store.resolve("example.org/other:1"))
    assert store.collect(set) is not None
    assert len(os.listdir(folder / "root/layers")) == 1
    assert os.listdir(folder / "root/drafts") == os.listdir(folder / "root/partial") == []
    assert len(files_below(folder / "root/images/blobs")) == 3
    assert json.loads((folder / "root/images/index.json").read_text())["manifests"]
