"""`unionfs.mount` for programs in Python."""

import os
import signal
import threading
from pathlib import Path

import pytest

import unionfs
from tests.support import needs
from tests.support.mounts import is_mount_point

pytestmark = needs.root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    needs.fuse_device()
    for name in ("top", "base", "changes", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "top/a").write_text("top")
    (tmp_path / "base/b").write_text("base")
    return tmp_path


def test_a_union_is_mounted_while_the_block_runs(place: Path) -> None:
    layers: list[str | Path] = [place / "top", str(place / "base")]
    with unionfs.mount(lower=layers, upper=place / "changes", workdir=place / "work", at=place / "merged") as merged:
        assert merged == place / "merged"
        assert is_mount_point(merged)
        assert sorted(os.listdir(merged)) == ["a", "b"]
        (merged / "b").write_text("changed")
    assert not is_mount_point(place / "merged")
    assert (place / "changes/b").read_text() == "changed"
    with unionfs.mount(lower=layers, upper=place / "changes", workdir=place / "work", at=place / "merged") as merged:
        assert (merged / "b").read_text() == "changed"


def test_without_an_upper_it_is_read_only(place: Path) -> None:
    with unionfs.mount(lower=[place / "top"], at=place / "merged") as merged:
        with pytest.raises(OSError, match="Read-only"):
            (merged / "new").touch()


def test_options_are_those_of_the_union(place: Path) -> None:
    (place / "top/.wh.b").touch()
    layers = [place / "top", place / "base"]
    with unionfs.mount(lower=layers, at=place / "merged", dialect="oci") as merged:
        assert os.listdir(merged) == ["a"]
    with unionfs.mount(lower=layers, at=place / "merged") as merged:
        assert sorted(os.listdir(merged)) == [".wh.b", "a", "b"]
    with pytest.raises(TypeError, match="nonsense"), unionfs.mount(lower=layers, at=place / "merged", nonsense=1):
        pass


def test_what_is_wrong_is_told_and_nothing_is_mounted(place: Path) -> None:
    with pytest.raises(unionfs.UnionError, match="nowhere"):
        with unionfs.mount(lower=[place / "nowhere"], at=place / "merged"):
            pass
    assert not is_mount_point(place / "merged")


def test_an_error_in_the_block_unmounts(place: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with unionfs.mount(lower=[place / "top"], at=place / "merged"):
            raise ZeroDivisionError
    assert not is_mount_point(place / "merged")


def test_the_program_keeps_its_descriptors_and_signals(place: Path) -> None:
    before = set(os.listdir("/proc/self/fd")), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with unionfs.mount(lower=[place / "top"], at=place / "merged"):
        assert set(os.listdir("/proc/self/fd")) == before[0]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before[1]


def test_what_is_in_use_at_the_end_is_served_until_it_no_longer_is(place: Path, open_fds) -> None:
    with unionfs.mount(lower=[place / "top"], at=place / "merged") as merged:
        fd = open_fds(merged / "a")
    assert not is_mount_point(place / "merged")
    assert os.read(fd, 10) == b"top"


def test_several_at_once_from_threads(place: Path) -> None:
    seen: list[str] = []

    def use(number: int) -> None:
        at = place / f"merged{number}"
        at.mkdir()
        with unionfs.mount(lower=[place / "top"], at=at) as merged:
            seen.append((merged / "a").read_text())

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == ["top"] * 4
