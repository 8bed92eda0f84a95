"""What is here, as `images`, `history` and `inspect` tell it, and how it goes: `rmi` and `prune`."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.image_store.conftest import Command
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs

pytestmark = needs.root
FIRST, SECOND = "example.org/first:1", "example.org/second:2"


@pytest.fixture
def two(pyunion: Command, tmp_path: Path) -> None:
    """The first of 2001, the second of 2002 with a label."""
    for number, (name, config) in enumerate([(FIRST, {}), (SECOND, {"Labels": {"stage": "test"}, "Cmd": ["sh"]})], 1):
        steps = [{"created": f"200{number}-01-01T00:00:00Z", "created_by": "a step that\nhas   spaces " + "x" * 50}]
        layer = archive([member("file", data=b"x" * number)])
        folder = tmp_path / str(number)
        make_layout(folder, [layer], config=config, name=name, created=steps[0]["created"], history=steps)
        pyunion("load", folder)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(("words", "lines"), [
    ((), [SECOND, FIRST]),
    (("example.org/first",), [FIRST]),
    ((FIRST,), [FIRST]),
    (("example.org/first:3",), []),
    (("-f", "reference=*/s*"), [SECOND]),
    (("-f", "reference=*:[12]", "-f", "label=stage=test"), []),
    (("-f", "reference=*/*:[12]", "-f", "label=stage=test"), [SECOND]),
    (("-f", "reference=*/first", "-f", "reference=*/second"), [SECOND, FIRST]),
    (("-f", "label=stage"), [SECOND]),
    (("-f", "label!=stage"), [FIRST]),
    (("-f", "label=stage=other"), []),
    (("-f", f"before={SECOND}"), [FIRST]),
    (("-f", f"since={FIRST}"), [SECOND]),
    (("-f", "until=2001-06-01"), [FIRST]),
    (("-f", "until=1h30m"), [SECOND, FIRST]),
    (("-f", "dangling=true"), []),
    (("-a", "-f", "dangling=false"), [SECOND, FIRST]),
])  # fmt: skip
def test_filters_of_images(pyunion: Command, words: tuple[str, ...], lines: list[str]) -> None:
    assert pyunion("images", "--format", "{{.Repository}}:{{.Tag}}", *words).splitlines() == lines


@pytest.mark.parametrize(("words", "complaint"), [
    (("-f", "nonsense=1"), "unknown filter 'nonsense=1': there are before,"),
    (("-f", "dangling"), "unknown filter 'dangling'"),
    (("-f", "dangling=perhaps"), "it is either true or false"),
    (("-f", "until=yesterday"), "invalid --filter until 'yesterday'"),
    (("-f", "before=nowhere"), "no such image: nowhere"),
    (("-f", "reference=[z-a]"), "it is no pattern"),
    (("--format", "{{.Nothing}}"), "there is no field Nothing"),
    (("one", "two"), "images takes [NAME[:TAG]]"),
])  # fmt: skip
def test_a_mistake_in_the_options_of_images_is_named(
    pyunion: Command, words: tuple[str, ...], complaint: str
) -> None:
    error = pyunion("images", *words, status=1 if "nowhere" in words[1] else 125)
    assert complaint in error
    assert "Traceback" not in error


@pytest.mark.usefixtures("two")
def test_the_forms_of_a_list(pyunion: Command) -> None:
    identities = pyunion("images", "-q", "--no-trunc").split()
    assert all(len(identity) == len("sha256:") + 64 for identity in identities)
    assert pyunion("images", "-q").split() == [identity[7:19] for identity in identities]
    heads = ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert pyunion("images", "--digests").splitlines()[0].split() == heads
    first, second = pyunion("images", "--format", r"table {{.Tag}}\t{{.Repository}}").splitlines()[1:]
    assert (first.split(), second.split()) == (["2", "example.org/second"], ["1", "example.org/first"])
    row = json.loads(pyunion("images", "--format", "json").splitlines()[1])
    assert (row["Repository"], row["ID"]) == ("example.org/first", identities[1][7:19])
    assert row["CreatedAt"] == "2001-01-01 00:00:00+00:00"


@pytest.mark.usefixtures("two")
def test_history_tells_each_step(pyunion: Command) -> None:
    lines = pyunion("history", FIRST).splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert "a step that has spaces xxxxxxxxxxxxxxxxxxxxx…" in lines[1]
    assert "x" * 50 in pyunion("history", "--no-trunc", FIRST)
    template = "{{.CreatedBy}} {{.CreatedAt}} {{.Size}}"
    assert pyunion("history", "--human=false", "--format", template, FIRST).split()[-2] == "00:00:00+00:00"
    assert pyunion("history", "-q", FIRST) == pyunion("images", "-q", FIRST)


@pytest.mark.usefixtures("two")
def test_inspect_takes_templates_and_types(pyunion: Command) -> None:
    assert pyunion("inspect", "-f", "{{index .RepoTags 0}} {{.Config.Cmd}}", FIRST, SECOND).splitlines() == [
        f"{FIRST} []", f"{SECOND} [sh]"]  # fmt: skip
    assert json.loads(pyunion("inspect", "-f", "{{json .Config.Labels}}", SECOND)) == {"stage": "test"}
    assert len(pyunion("inspect", "--format", "json", FIRST).splitlines()) == 1
    assert "no such image: none" in pyunion("inspect", "--type", "image", "none", status=1)
    assert "no such container or image: none" in pyunion("inspect", "none", status=1)
    assert "no such container: " in pyunion("inspect", "--type", "container", FIRST, status=1)
    assert "there are container and image" in pyunion("inspect", "--type", "volume", FIRST, status=125)


@pytest.mark.usefixtures("two")
def test_an_id_removes_an_image_with_the_names_of_one_repository(pyunion: Command) -> None:
    (first,) = pyunion("images", "-q", FIRST).split()
    pyunion("tag", FIRST, "example.org/first:again")
    said = pyunion("rmi", first)
    assert said.splitlines()[:2] == ["Untagged: example.org/first:1", "Untagged: example.org/first:again"]
    (second,) = pyunion("images", "-q", SECOND).split()
    pyunion("tag", SECOND, "elsewhere:1")
    assert "names in several repositories" in pyunion("rmi", second, status=1)
    assert f"Untagged: {SECOND}" in pyunion("rmi", "-f", second)
    assert pyunion("images", "-q") == ""


@pytest.mark.usefixtures("two")
def test_rmi_of_several_goes_on_after_a_mistake(pyunion: Command) -> None:
    assert "no such image: none" in pyunion("rmi", FIRST, "none", SECOND, status=1)
    assert pyunion("images", "-q") == ""
    pyunion("rmi", "-f", "none")


@pytest.mark.usefixtures("two")
def test_prune_takes_what_its_filters_say(pyunion: Command, tmp_path: Path) -> None:
    assert "Deleted" not in pyunion("prune")
    assert pyunion("prune", "-a", "--filter", "label=stage").count("Deleted: sha256:") == 1
    assert "Deleted" not in pyunion("prune", "-a", "--filter", "until=2000-01-01")
    pyunion("tag", FIRST, "kept:1")
    pyunion("rmi", FIRST)
    assert pyunion("prune", "--all", "--force").count("Deleted: sha256:") == 1
    assert os.listdir(tmp_path / "root/layers") == os.listdir(tmp_path / "root/images/blobs/sha256") == []


@pytest.mark.usefixtures("two")
def test_a_damaged_image_hides_no_other_and_can_be_removed(pyunion: Command, tmp_path: Path) -> None:
    image: dict[str, Any] = json.loads(pyunion("inspect", FIRST))[0]
    config = tmp_path / "root/images/blobs/sha256" / image["Id"].removeprefix("sha256:")
    config.write_bytes(b"{}")
    complaint = pyunion("images", status=1)
    assert complaint.startswith(f"pyunion images: image {FIRST} is damaged: ")
    assert len(complaint.splitlines()) == 1
    pyunion("prune")
    assert f"Untagged: {FIRST}" in pyunion("rmi", FIRST)
    assert pyunion("images", "--format", "{{.Tag}}") == "2\n"


def test_layers_in_use_stay_whatever_way_leads_to_the_store(pyunion: Command, layout: Path, tmp_path: Path) -> None:
    pyunion("load", layout)
    name = "example.org/test:1"
    pyunion("create", "--name", "c", "--network", "none", "-u", "0", "-w", "/", name, "cat", "/etc/group")
    pyunion("rmi", "-f", name)
    (tmp_path / "way").symlink_to(tmp_path)
    pyunion("--root", tmp_path / "way/root", "--runroot", tmp_path / "way/run", "prune", "-f")
    assert pyunion("start", "-a", "c") == "web:x:1000:\n"
    pyunion("rm", "c")


def test_an_image_in_use_stays(pyunion: Command, layout: Path) -> None:
    pyunion("load", layout)
    pyunion("tag", "example.org/test:1", "other:2")
    pyunion("run", "--name", "c", "other:2", "id")
    assert "Untagged: example.org/test:1" in pyunion("rmi", "example.org/test:1")
    assert "in use by container c" in pyunion("rmi", "other:2", status=1)
    pyunion("prune", "-a")
    assert pyunion("images", "-q")
    pyunion("rm", "c")
    assert "Deleted: sha256:" in pyunion("rmi", "other:2")
    assert "no such image" in pyunion("rmi", "other:2", status=1)


def test_containers_are_found_by_their_image_as_people_name_it(pyunion: Command, layout: Path) -> None:
    pyunion("load", layout)
    pyunion("tag", "example.org/test:1", "box")
    pyunion("create", "--name=c", "--network=none", "box")
    identity = pyunion("images", "-q").split()[0]
    for text in ("box", "box:latest", "docker.io/library/box", identity, identity[:6]):
        assert pyunion("ps", "-a", "-f", f"ancestor={text}", "--format={{.Names}}") == "c\n", text
    for text in ("bo", "box:1", "example.org/test:1", "/"):
        assert pyunion("ps", "-aq", "-f", f"ancestor={text}") == "", text
