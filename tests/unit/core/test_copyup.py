"""Copy-up under interleaving: what other verbs do between the copy's beginning and its end."""

import errno
import os

import pytest

from tests.unit.core.inprocess import ROOT, InProcess
from unionfs.core import privileges
from unionfs.core.inodes import File
from unionfs.core.model import SetAttr
from unionfs.core.ops import attrs, files, remove, rename
from unionfs.core.work import run_inline

CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture
def fs(tmp_path):
    fs = InProcess(tmp_path)
    (fs.lowers[1] / "dir").mkdir()
    (fs.lowers[1] / "dir/f").write_bytes(b"lower data")
    yield fs
    fs.reopen()
    assert fs.debris() == []


def begin_open(fs, path="dir/f", flags=os.O_RDWR):
    """A writing open that has come to its slow step: (the verb, the step)."""
    steps = files.open_file(fs.union, fs.node(path), flags, ROOT)
    return steps, next(steps)


def finish(steps):
    with pytest.raises(StopIteration) as stop:
        next(steps)
    return stop.value.value


def test_two_writers_make_one_copy(fs):
    first, work = begin_open(fs)
    second, same = begin_open(fs)
    assert same is work
    work.run()
    handles = [fs.union.handles[finish(steps)] for steps in (second, first)]
    assert len({os.fstat(handle.fd).st_ino for handle in handles}) == 1


def test_the_lower_file_stays_visible_until_the_copy_is_whole(fs):
    steps, work = begin_open(fs)
    assert fs.read("dir/f") == b"lower data"
    assert not (fs.upper / "dir/f").exists()
    work.run()
    assert not (fs.upper / "dir/f").exists()
    finish(steps)
    assert (fs.upper / "dir/f").read_bytes() == b"lower data"


def test_a_copy_has_no_name_before_it_is_whole(fs):
    """So that who is killed in its midst leaves nothing behind."""
    steps, work = begin_open(fs)
    assert fs.debris() == []
    work.run()
    finish(steps)


def test_a_copy_is_known_to_have_set_id_bits_or_a_capability(fs):
    (fs.lowers[1] / "plain").write_bytes(b"x")
    (fs.lowers[1] / "set-id").write_bytes(b"x")
    os.chmod(fs.lowers[1] / "set-id", 0o4755)
    (fs.lowers[1] / "capable").write_bytes(b"x")
    os.setxattr(fs.lowers[1] / "capable", privileges.CAPABILITY, CAP_NET_RAW)
    handles = [fs.union.handles[fs.open(name, os.O_RDWR)] for name in ("plain", "set-id", "capable")]
    assert [handle.node.set_id for handle in handles] == [False, True, True]


def test_a_reader_from_before_sees_what_is_written_after(fs):
    reader = fs.union.handles[fs.open("dir/f")]
    fs.write("dir/f", b"UPPER")
    assert os.pread(reader.fd, 20, 0) == b"UPPER data"


def test_a_file_deleted_while_it_is_copied_lives_on_for_its_writer_only(fs):
    steps, work = begin_open(fs)
    remove.unlink(fs.union, fs.node("dir"), b"f")
    work.run()
    handle = fs.union.handles[finish(steps)]
    os.pwrite(handle.fd, b"UPPER", 0)
    assert os.pread(handle.fd, 20, 0) == b"UPPER data"
    assert fs.names("dir") == []
    assert (fs.upper / "dir/f").is_char_device()
    assert (fs.lowers[1] / "dir/f").read_bytes() == b"lower data"


def test_a_file_renamed_while_it_is_copied_appears_under_its_new_name(fs):
    steps, work = begin_open(fs)
    renaming = rename.rename(fs.union, fs.node("dir"), b"f", fs.node(""), b"g")
    assert next(renaming) is work
    work.run()
    finish(renaming)
    handle = fs.union.handles[finish(steps)]
    os.pwrite(handle.fd, b"UPPER", 0)
    assert fs.names() == ["dir", "g"]
    assert fs.read("g") == b"UPPER data"


def test_a_directory_renamed_while_a_file_in_it_is_copied_takes_the_copy_along(fs):
    steps, work = begin_open(fs)
    run_inline(rename.rename(fs.union, fs.node(""), b"dir", fs.node(""), b"other"))
    work.run()
    finish(steps)
    assert (fs.upper / "other/f").read_bytes() == b"lower data"
    fs.reopen()
    assert fs.names("other") == ["f"]


def test_a_failed_copy_reaches_every_waiter_and_leaves_the_lower_file(fs):
    first, _ = begin_open(fs)
    second, _ = begin_open(fs)
    for steps in (first, second):
        with pytest.raises(OSError, match="No space") as raised:
            steps.throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        assert raised.value.errno == errno.ENOSPC
    assert fs.read("dir/f") == b"lower data"
    assert fs.debris() == []
    fs.write("dir/f", b"UPPER")
    assert fs.read("dir/f") == b"UPPER data"


def test_cutting_a_file_short_copies_only_what_remains(fs):
    run_inline(attrs.setattr(fs.union, fs.node("dir/f"), SetAttr(size=5), ROOT))
    assert (fs.upper / "dir/f").read_bytes() == b"lower"


def test_a_truncating_open_copies_no_data(fs):
    steps = files.open_file(fs.union, fs.node("dir/f"), os.O_RDWR | os.O_TRUNC, ROOT)
    finish(steps)
    assert (fs.upper / "dir/f").read_bytes() == b""


def test_hard_links_of_a_lower_layer_stay_links(fs):
    os.link(fs.lowers[1] / "dir/f", fs.lowers[1] / "dir/g")
    os.link(fs.lowers[1] / "dir/f", fs.lowers[1] / "h")
    number = fs.node("dir/g").ino
    fs.write("dir/g", b"UPPER")
    for _ in range(2):
        assert {fs.read(name) for name in ("dir/f", "dir/g", "h")} == {b"UPPER data"}
        assert {fs.node(name).ino for name in ("dir/f", "dir/g", "h")} == {number}
        assert {attrs_of(fs, name).st_nlink for name in ("dir/f", "dir/g", "h")} == {3}
        fs.reopen()
    remove.unlink(fs.union, fs.node(""), b"h")
    remove.unlink(fs.union, fs.node("dir"), b"f")
    fs.reopen()
    assert (attrs_of(fs, "dir/g").st_nlink, fs.read("dir/g")) == (1, b"UPPER data")
    remove.unlink(fs.union, fs.node("dir"), b"g")
    assert os.listdir(fs.tmp / "work/index") == []


def attrs_of(fs, path):
    from unionfs.core.ops import lookup

    return lookup.getattr(fs.union, fs.node(path))[1]


def test_forgotten_nodes_come_back_as_they_were(fs):
    from unionfs.core.ops import lookup

    fs.write("dir/f", b"UPPER")
    numbers = {path: fs.node(path).ino for path in ("dir", "dir/f")}
    for path in ("dir/f", "dir"):
        lookup.forget(fs.union, fs.node(path), 0)
    assert len(fs.union.inodes) == 1
    assert {path: fs.node(path).ino for path in numbers} == numbers
    assert isinstance(fs.node("dir/f"), File)
