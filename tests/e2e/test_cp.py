"""`cp`: files in and out of a container, running or not, and nowhere else."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion
from tests.e2e.test_background import detach
from tests.support.waiting import wait_for

_TREE = "mkdir -p /d/e; echo hi >/d/e/f; ln -s e /d/link; chown 5:6 /d/e/f; chmod 751 /d/e; echo ready; sleep 1000"


@pytest.fixture(params=["running", "stopped"])
def filled(pyunion: Pyunion, request: pytest.FixtureRequest) -> Pyunion:
    detach(pyunion, script=_TREE)
    wait_for("its files", lambda: "ready" in pyunion("logs", "one").stdout)
    if request.param == "stopped":
        pyunion("stop", "-t", "0", "one")
    return pyunion


def show(pyunion: Pyunion, path: str) -> str:
    """A file's content by way of another copy, whether the container runs or not."""
    result = subprocess.run(pyunion.argv("cp", f"one:{path}", "-"), capture_output=True, check=True, timeout=30)
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        content = archive.extractfile(archive.getmembers()[0])
        assert content is not None
        return content.read().decode()


def test_a_tree_comes_out_as_it_is(filled: Pyunion, tmp_path: Path) -> None:
    assert filled("cp", "one:/d", tmp_path / "new").returncode == 0
    assert (tmp_path / "new/e/f").read_text() == "hi\n"
    assert os.readlink(tmp_path / "new/link") == "e"
    assert (tmp_path / "new/e").stat().st_mode & 0o777 == 0o751
    assert (tmp_path / "new/e/f").stat().st_uid == os.geteuid()
    assert filled("cp", "-a", "one:/d", tmp_path / "new").returncode == 0
    assert (tmp_path / "new/d/e/f").stat().st_uid == 5, "into the directory that is there"
    assert filled("cp", "one:/d/.", tmp_path / "new/content").returncode == 0
    assert (tmp_path / "new/content/e/f").exists()


def test_a_tree_goes_in(filled: Pyunion, tmp_path: Path) -> None:
    (tmp_path / "src/sub").mkdir(parents=True)
    (tmp_path / "src/sub/file").write_text("from outside\n")
    os.chown(tmp_path / "src/sub/file", 7, 8)
    assert filled("cp", tmp_path / "src", "one:/new").returncode == 0
    assert show(filled, "/new/sub/file") == "from outside\n"
    assert filled("cp", tmp_path / "src/sub/file", "one:/d/e/f").returncode == 0
    assert show(filled, "/d/e/f") == "from outside\n"
    assert filled("cp", f"{tmp_path}/src/.", "one:/d").returncode == 0
    assert show(filled, "/d/sub/file") == "from outside\n"


def test_archives_go_both_ways(filled: Pyunion) -> None:
    packed = subprocess.run(filled.argv("cp", "one:/d", "-"), capture_output=True, check=True, timeout=30).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert sorted(archive.getnames()) == ["d", "d/e", "d/e/f", "d/link"]
        assert archive.getmember("d/e/f").uid == 5
    subprocess.run(filled.argv("cp", "-", "one:/tmp"), input=packed, check=True, timeout=30)
    assert show(filled, "/tmp/d/e/f") == "hi\n"


def test_what_is_not_there_is_told(filled: Pyunion, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for source, target in (("one:/nosuch", tmp_path), (tmp_path / "file", "one:/no/dir/x"), (tmp_path / "no", "one:/")):
        result = filled("cp", source, target)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    result = filled("cp", tmp_path, "one:/d/e/f")
    assert (result.returncode, "non-directory" in result.stderr or "directory" in result.stderr) == (1, True)
    assert filled("cp", tmp_path, tmp_path).returncode == 125


def test_symlinks_of_the_container_lead_nowhere_else(pyunion: Pyunion, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    script = f"mkdir -p {canary}; ln -s {canary} /evil; ln -s /../../../..{canary} /up; echo ready; sleep 1000"
    detach(pyunion, script=script)
    wait_for("its links", lambda: "ready" in pyunion("logs", "one").stdout)
    (tmp_path / "file").write_text("x")
    for link in ("/evil", "/up"):
        assert pyunion("cp", tmp_path / "file", f"one:{link}/planted").returncode == 0
    assert list(canary.iterdir()) == []
    assert pyunion("exec", "one", "ls", str(canary)).stdout == "planted\n"


def test_a_container_that_swaps_paths_meanwhile_reaches_no_file_of_ours(pyunion: Pyunion, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("secret")
    script = f"""mkdir -p {canary} /real; echo inside >/real/file; echo inside >{canary}/file; echo ready
        while :; do rm -rf /swap; ln -s {canary} /swap; rm /swap; mkdir /swap; echo inside >/swap/file; done"""
    detach(pyunion, script=script)
    wait_for("its start", lambda: "ready" in pyunion("logs", "one").stdout)
    (tmp_path / "in").write_text("planted")
    for number in range(12):
        pyunion("cp", tmp_path / "in", f"one:/swap/planted{number}")
        out = tmp_path / f"out{number}"
        pyunion("cp", "one:/swap/file", out)
        assert not out.exists() or out.read_text() != "secret"
    assert [path.name for path in canary.iterdir()] == ["file"]
    assert (canary / "file").read_text() == "secret"


def test_an_archive_cannot_lead_out_of_where_it_is_unpacked(pyunion: Pyunion, tmp_path: Path) -> None:
    detach(pyunion)
    canary = tmp_path / "canary"
    canary.mkdir()
    for name in (f"../../..{canary}/x", "link/x"):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, str(canary)
            archive.addfile(link)
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        subprocess.run(pyunion.argv("cp", "-", "one:/tmp"), input=data.getvalue(), check=False, timeout=30)
    assert list(canary.iterdir()) == []
