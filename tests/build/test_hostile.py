"""Contexts, stages and archives of strangers: what they say stays inside, and nothing of this machine gets out."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from runtime.trees import remove_tree
from tests.build.conftest import Builder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that no build should read or change."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_text("secret\n")
    return directory


@pytest.fixture
def builder(shared_store: Path, tmp_path: Path) -> Builder:
    (tmp_path / "contexts").mkdir()
    return Builder(shared_store, tmp_path / "contexts")


@pytest.mark.parametrize(
    "source", ["link/secret", "link", "up/secret", "../outside/secret", "file", "link/../secret", "l*/secret"]
)
def test_a_symlink_in_the_context_never_leads_out(source: str, builder: Builder, outside: Path) -> None:
    context = builder.context(f"FROM box\nCOPY {source} /got/\n", {"d/x": ""})
    (context / "link").symlink_to(outside)
    (context / "file").symlink_to(outside / "secret")
    (context / "up").symlink_to("../../outside")
    done = builder.call("build", "-t", "stolen", context)
    assert done.status == 1 or builder.sh("stolen", "cat /got/* 2>&1; true").find("secret\n") < 0
    assert "Traceback" not in done.stderr


def test_a_dockerfile_or_dockerignore_that_is_a_symlink_is_read_inside_alone(builder: Builder, outside: Path) -> None:
    (outside / "Dockerfile").write_text("FROM box\n")
    context = builder.context("")
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to(outside / "Dockerfile")
    assert "the context has neither Dockerfile nor Containerfile" in builder.refused(context)
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to("inner")
    (context / "inner").write_text("FROM box\nRUN true\n")
    builder.build(context)


def test_links_in_a_copied_tree_are_copied_as_links(builder: Builder, outside: Path) -> None:
    context = builder.context("FROM box\nCOPY tree /tree\n", {"tree/x": ""})
    (context / "tree/out").symlink_to(outside / "secret")
    builder.build(context, "-t", "links")
    assert builder.sh("links", "readlink /tree/out; cat /tree/out 2>/dev/null; true") == f"{outside}/secret\n"


DESTINATIONS = {
    "absolute": ("RUN ln -s {outside} /d\nCOPY a /d/\n", "cat {outside}/a"),
    "relative": ("RUN ln -s ../../../../../../..{outside} /d\nCOPY a /d/\n", "cat {outside}/a"),
    "of a file": ("RUN ln -s {outside}/a /d\nCOPY a /d\n", "cat {outside}/a"),
    "deep": ("RUN mkdir -p /x/y {outside}; ln -s {outside} /x/y/d\nCOPY a /x/y/d/\n", "cat {outside}/a"),
    "dots": ("COPY a ../../../../../../../..{outside}/a\n", "cat {outside}/a"),
    "by WORKDIR": ("RUN ln -s {outside} /d\nWORKDIR /d/e\nCOPY a .\n", "cat {outside}/e/a"),
    "of an archive": ("RUN ln -s {outside} /d\nADD x.tar /d/\n", "cat {outside}/a"),
}


@pytest.mark.parametrize("case", DESTINATIONS)
def test_a_symlink_in_the_destination_leads_to_a_place_in_the_image(case: str, builder: Builder, outside: Path) -> None:
    instructions, check = (text.replace("{outside}", str(outside)) for text in DESTINATIONS[case])
    context = builder.context(f"FROM box\n{instructions}", {"a": "inside\n"})
    (context / "x.tar").write_bytes(archive([plain("a", b"inside\n")]))
    name = f"destination-{list(DESTINATIONS).index(case)}"
    builder.build(context, "-t", name)
    assert builder.sh(name, check) == "inside\n"
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("source", ["/link/secret", "/link", "/file", "/link/.."])
def test_a_symlink_of_a_stage_never_leads_out(source: str, builder: Builder, outside: Path) -> None:
    bind = f"RUN --mount=from=evil,source={source},target=/mnt cat /mnt/* /mnt > /got || true"
    for name, instruction in (("copy", f"COPY --from=evil {source} /got/"), ("bind", bind)):
        context = builder.context(
            f"FROM box AS evil\nRUN ln -s {outside} /link; ln -s {outside}/secret /file\nFROM box\n{instruction}\n"
        )
        done = builder.call("build", "-t", f"stage-{name}", context)
        assert "Traceback" not in done.stderr
        assert done.status == 1 or "secret\n" not in builder.sh(f"stage-{name}", "cat /got /got/* 2>&1; true")


@pytest.mark.parametrize("line", ["FROM {}", "FROM scratch\nCOPY --from={} / /"])
def test_a_dockerfile_names_no_image_by_its_place_on_this_machine(line: str, builder: Builder) -> None:
    place = f"oci:{builder.root}/images:docker.io/library/box:latest"
    assert "is a place on this machine" in builder.refused(builder.context(line.format(place)))


def test_a_bound_directory_of_the_context_never_leads_out(builder: Builder, outside: Path) -> None:
    context = builder.context("FROM box\nRUN --mount=source=link,target=/mnt cat /mnt/secret\n")
    (context / "link").symlink_to(outside)
    assert "--mount: link isn't there" in builder.refused(context)


def test_what_a_mount_made_is_taken_away_in_the_layer_alone(builder: Builder, outside: Path) -> None:
    """CVE-2024-23652: the command puts a link to a directory of this machine where its mount was."""
    (outside / "empty").mkdir()
    swap = f"mv /x /z; ln -s {outside} /x"
    builder.build(builder.context(f"FROM box\nRUN --mount=type=tmpfs,target=/x/empty {swap}\n"), "-t", "swapped")
    assert sorted(os.listdir(outside)) == ["empty", "secret"]
    assert builder.sh("swapped", "readlink /x; ls /z") == f"{outside}\nempty\n"


def archive(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def plain(name: str, content: bytes = b"", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in changes.items():
        setattr(member, key, value)
    return member, content


EVIL = {
    "dots": [plain("../evil", b"x")],
    "link then file": [plain("l", type=tarfile.SYMTYPE, linkname="{outside}"), plain("l/evil", b"x")],
    "hard link": [plain("h", type=tarfile.LNKTYPE, linkname="../../../../../../etc/passwd")],
    "hard link to nothing": [plain("h", type=tarfile.LNKTYPE, linkname="etc/shadow")],
    "whiteout": [plain("etc/.wh.passwd")],
    "opaque": [plain("etc/.wh..wh..opq")],
}


@pytest.mark.parametrize("way", ["ADD", "context"])
@pytest.mark.parametrize("case", EVIL)
def test_an_archive_of_a_stranger_stays_inside(case: str, way: str, builder: Builder, outside: Path) -> None:
    members = [(member, content) for member, content in EVIL[case]]
    for member, _ in members:
        member.linkname = member.linkname.replace("{outside}", str(outside))
    if way == "ADD":
        context = builder.context("FROM box\nADD x.tar /x/\n", {"x.tar": archive(members)})
        done = builder.call("build", context)
    else:
        done = builder.call("build", "-", stdin=archive([plain("Dockerfile", b"FROM box\n"), *members]))
    assert "Traceback" not in done.stderr
    assert done.status in (0, 1)
    assert done.status == 1 or case == "link then file"
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq"])
def test_a_file_that_would_mean_a_deletion_is_not_copied(name: str, builder: Builder) -> None:
    context = builder.context("FROM box\nCOPY d /d\n", {f"d/{name}": ""})
    assert "a layer can't hold a file of that name" in builder.refused(context)


def test_a_file_of_users_that_is_a_pipe_or_endless_does_not_stop_a_build(builder: Builder) -> None:
    for make in ("rm /etc/passwd; mkfifo /etc/passwd", "rm /etc/passwd; ln -s /dev/zero /etc/passwd"):
        context = builder.context(f"FROM box\nRUN {make}\nCOPY --chown=alice a /\n", {"a": ""})
        assert "there is no user 'alice'" in builder.refused(context)


def test_symlinks_in_a_circle_are_an_error(builder: Builder) -> None:
    context = builder.context("FROM box\nRUN ln -s /b /a; ln -s /a /b\nCOPY Dockerfile /a/x\n")
    assert "Too many levels of symbolic links" in builder.refused(context)
    (context / "Dockerfile").write_text("FROM box\nCOPY c /x\n")
    (context / "c").symlink_to("c")
    assert "Too many levels of symbolic links" in builder.refused(context)


def test_a_very_deep_context_is_copied(builder: Builder) -> None:
    context = builder.context("FROM box\nCOPY d /d\n")
    deep = os.open(context, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    try:
        builder.build(context, "-t", "deep")
    finally:
        remove_tree(str(context))
    assert builder.sh("deep", "n=0; while cd d 2> /dev/null; do n=$((n + 1)); done; echo $n") == "1200\n"
