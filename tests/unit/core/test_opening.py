"""What a union refuses to be made of, and the line it says so with."""

import os

import pytest

from unionfs import UnionError, UnionOptions, open_union


@pytest.fixture
def dirs(tmp_path):
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    return tmp_path


def options(top, **changes):
    values = {"lower": (b"lower",), "upper": b"upper", "workdir": b"work"} | changes
    path = {key: os.path.join(os.fsencode(top), values[key]) for key in ("upper", "workdir") if values[key]}
    lower = tuple(os.path.join(os.fsencode(top), layer) for layer in values["lower"])
    return UnionOptions(lower=lower, upper=path.get("upper"), workdir=path.get("workdir"))


def open_fds():
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lower": ()}, "no lower layer"),
        ({"lower": (b"nothing",)}, "lower layer .*nothing.*doesn't exist"),
        ({"lower": (b"file",)}, "lower layer .*file.*not a directory"),
        ({"workdir": b""}, "upperdir needs workdir"),
        ({"upper": b""}, "workdir needs upperdir"),
        ({"upper": b"lower/inside"}, "upper layer .*inside the lower layer"),
        ({"upper": b"lower"}, "upper layer .*inside the lower layer"),
        ({"workdir": b"lower/inside"}, "work directory .*inside the lower layer"),
        ({"lower": (b"upper/layer",)}, "lower layer .*inside the upper layer"),
        ({"workdir": b"upper/layer"}, "contain one another"),
        ({"workdir": b"upper"}, "contain one another"),
        ({"workdir": b"elsewhere"}, "another filesystem"),
    ],
)
def test_refusals_name_the_culprit_and_leave_nothing(dirs, changes, words):
    (dirs / "file").write_text("")
    (dirs / "lower/inside").mkdir()
    (dirs / "upper/layer").mkdir()
    if changes.get("workdir") == b"elsewhere":
        changes = {"workdir": b"/dev/shm"}
    before = open_fds()
    with pytest.raises(UnionError, match=words):
        open_union(options(dirs, **changes))
    assert open_fds() == before
    assert os.listdir(dirs / "work") == []


def test_an_upper_serves_one_union_at_a_time(dirs):
    union = open_union(options(dirs))
    with pytest.raises(UnionError, match="in use by another mount"):
        open_union(options(dirs))
    union.close()
    open_union(options(dirs)).close()


def test_leftovers_of_a_crash_are_cleaned(dirs):
    (dirs / "work/work/#1/deep").mkdir(parents=True)
    (dirs / "work/work/#1/deep/f").write_text("")
    (dirs / "work/users-file").write_text("")
    open_union(options(dirs)).close()
    assert os.listdir(dirs / "work/work") == []
    assert (dirs / "work/users-file").exists()


def test_closing_leaves_no_descriptor(dirs):
    before = open_fds()
    open_union(options(dirs)).close()
    assert open_fds() == before
