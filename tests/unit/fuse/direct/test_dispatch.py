"""Requests carried to their end, and what is made of malformed ones."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.tree import snapshot
from tests.unit.core.inprocess import InProcess
from tests.unit.fuse.direct.carrier import Carrier, padded
from unionfs.core.model import Caller
from unionfs.fuse.direct import device, protocol
from unionfs.fuse.direct.dispatch import _SILENT
from unionfs.fuse.direct.protocol import Init, Opcode

LAYOUTS = {
    Opcode.FORGET: protocol.FORGET_IN, Opcode.BATCH_FORGET: protocol.BATCH_FORGET_IN,
    Opcode.GETATTR: protocol.GETATTR_IN, Opcode.SETATTR: protocol.SETATTR_IN, Opcode.MKNOD: protocol.MKNOD_IN,
    Opcode.MKDIR: protocol.MKDIR_IN, Opcode.RENAME: protocol.RENAME_IN, Opcode.RENAME2: protocol.RENAME2_IN,
    Opcode.LINK: protocol.LINK_IN, Opcode.OPEN: protocol.OPEN_IN, Opcode.CREATE: protocol.CREATE_IN,
    Opcode.TMPFILE: protocol.CREATE_IN, Opcode.READ: protocol.READ_IN, Opcode.WRITE: protocol.WRITE_IN,
    Opcode.RELEASE: protocol.RELEASE_IN, Opcode.FSYNC: protocol.FSYNC_IN, Opcode.SETXATTR: protocol.SETXATTR_IN_EXT,
    Opcode.GETXATTR: protocol.GETXATTR_IN, Opcode.LISTXATTR: protocol.GETXATTR_IN, Opcode.READDIR: protocol.READ_IN,
    Opcode.READDIRPLUS: protocol.READ_IN, Opcode.FSYNCDIR: protocol.FSYNC_IN, Opcode.ACCESS: protocol.ACCESS_IN,
    Opcode.INTERRUPT: protocol.INTERRUPT_IN, Opcode.IOCTL: protocol.IOCTL_IN,
    Opcode.FALLOCATE: protocol.FALLOCATE_IN, Opcode.LSEEK: protocol.LSEEK_IN,
    Opcode.COPY_FILE_RANGE: protocol.COPY_FILE_RANGE_IN, Opcode.COPY_FILE_RANGE_64: protocol.COPY_FILE_RANGE_IN,
    Opcode.STATX: protocol.STATX_IN,
}  # fmt: skip


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[InProcess]:
    made = InProcess(tmp_path, lowers=1)
    (made.lowers[0] / "file").write_text("lower")
    (made.lowers[0] / "dir").mkdir()
    yield made
    made.reopen()


@pytest.fixture
def carrier(inside: InProcess) -> Iterator[Carrier]:
    made = Carrier(inside.union)
    yield made
    made.close()


def test_a_file_is_made_written_read_and_removed(carrier: Carrier) -> None:
    body = protocol.CREATE_IN.pack(os.O_RDWR, 0o666, 0o027, 0) + b"new\0"
    answer = carrier.ask(Opcode.CREATE, body, caller=Caller(0, 0))
    nodeid, *_ = protocol.ENTRY_OUT.unpack_from(answer)
    fh, _, _ = protocol.OPEN_OUT.unpack_from(answer, protocol.ENTRY_OUT.size + protocol.ATTR.size)
    carrier.ask(Opcode.WRITE, protocol.WRITE_IN.pack(fh, 0, 7, 0) + b"content", nodeid)
    assert carrier.ask(Opcode.READ, protocol.READ_IN.pack(fh, 3, 100), nodeid) == b"tent"
    carrier.ask(Opcode.RELEASE, protocol.RELEASE_IN.pack(fh), nodeid)
    assert os.stat(carrier.union.layers[0].path + b"/new").st_mode & 0o777 == 0o640
    carrier.ask(Opcode.UNLINK, b"new\0")
    assert carrier.look_up(b"new") == protocol.NO_NODE


def test_what_nobody_knows_is_enosys(carrier: Carrier) -> None:
    for opcode in (0, 7, 19, Opcode.GETLK, Opcode.POLL, Opcode.BMAP, 54, 4096, 2**32 - 1):
        unique = carrier.send(opcode, bytes(200))
        assert carrier.replies[unique] == errno.ENOSYS


@pytest.mark.parametrize("opcode", [Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.NOTIFY_REPLY])
@pytest.mark.parametrize("body", [b"", b"\x01", bytes(8), b"\xff" * 24])
def test_what_has_no_reply_gets_none(carrier: Carrier, opcode: Opcode, body: bytes) -> None:
    carrier.send(opcode, body, nodeid=99)
    assert carrier.replies == {}


NO_END = b"no end"
NAMING = (Opcode.LOOKUP, Opcode.UNLINK, Opcode.RMDIR, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.LINK,
          Opcode.CREATE, Opcode.RENAME, Opcode.RENAME2)  # fmt: skip
"""Requests with a name; before it stands what LAYOUTS says."""


def naming(carrier: Carrier, opcode: Opcode, name: bytes) -> bytes:
    """The body of a request that would be right, were it not for `name`."""
    fixed = {
        Opcode.MKNOD: protocol.MKNOD_IN.pack(0o100644, 0, 0), Opcode.MKDIR: protocol.MKDIR_IN.pack(0o755, 0),
        Opcode.LINK: protocol.LINK_IN.pack(carrier.look_up(b"file")),
        Opcode.CREATE: protocol.CREATE_IN.pack(os.O_RDWR, 0o644, 0, 0),
        Opcode.RENAME: protocol.RENAME_IN.pack(protocol.ROOT_ID) + b"file\0",
        Opcode.RENAME2: protocol.RENAME2_IN.pack(protocol.ROOT_ID, 0) + b"file\0",
    }.get(opcode, b"")  # fmt: skip
    return fixed + name + (b"target\0" if opcode == Opcode.SYMLINK else b"")


@pytest.mark.parametrize("opcode", NAMING)
@pytest.mark.parametrize("name", [b"\0", b".\0", b"..\0", b"../upper\0", b"dir/file\0", b"/etc/passwd\0", NO_END])
def test_names_that_would_lead_elsewhere_or_have_no_end_are_refused(
    carrier: Carrier, opcode: Opcode, name: bytes
) -> None:
    body = naming(carrier, opcode, name)
    with pytest.raises(OSError) as error:
        carrier.ask(opcode, body.rstrip(b"\0") if name == NO_END else body)
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("opcode", sorted({*LAYOUTS, *NAMING, Opcode.READLINK, Opcode.STATFS, Opcode.OPENDIR} - {
    Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.STATFS, Opcode.OPENDIR, Opcode.READ, Opcode.WRITE,
    Opcode.FSYNC, Opcode.LSEEK, Opcode.FALLOCATE, Opcode.COPY_FILE_RANGE, Opcode.COPY_FILE_RANGE_64, Opcode.RELEASE,
}))  # fmt: skip
def test_a_node_that_nobody_was_told_of_is_stale(carrier: Carrier, opcode: Opcode) -> None:
    layout = LAYOUTS.get(opcode)
    body = naming(carrier, opcode, b"a\0") if opcode in NAMING else bytes(layout.size if layout else 0) + b"user.k\0"
    for nodeid in (77, 0, 2**64 - 1):
        with pytest.raises(OSError) as error:
            carrier.ask(opcode, body, nodeid)
        assert error.value.errno == errno.ESTALE


@pytest.mark.parametrize("opcode", [
    Opcode.READ, Opcode.WRITE, Opcode.FSYNC, Opcode.LSEEK, Opcode.FALLOCATE, Opcode.COPY_FILE_RANGE, Opcode.RELEASE,
])
def test_a_handle_that_nobody_was_given_is_bad(carrier: Carrier, opcode: Opcode) -> None:
    nodeid = carrier.look_up(b"file")
    for number in (77, 2**64 - 1):
        with pytest.raises(OSError) as error:
            carrier.ask(opcode, padded(LAYOUTS[opcode], [number] + [0] * 10), nodeid)
        assert error.value.errno == errno.EBADF


def test_only_a_handle_for_writing_is_written(carrier: Carrier) -> None:
    nodeid = carrier.look_up(b"file")
    fh = carrier.open(nodeid, os.O_RDONLY)
    for opcode, body in (
        (Opcode.WRITE, protocol.WRITE_IN.pack(fh, 0, 1, 0) + b"x"),
        (Opcode.FALLOCATE, protocol.FALLOCATE_IN.pack(fh, 0, 1, 0)),
        (Opcode.COPY_FILE_RANGE, protocol.COPY_FILE_RANGE_IN.pack(fh, 0, nodeid, fh, 0, 1, 0)),
    ):
        with pytest.raises(OSError) as error:
            carrier.ask(opcode, body, nodeid)
        assert error.value.errno == errno.EBADF
    carrier.ask(Opcode.RELEASE, protocol.RELEASE_IN.pack(fh), nodeid)


@pytest.mark.parametrize("opcode", LAYOUTS)
def test_truncated_requests_are_refused(carrier: Carrier, opcode: Opcode) -> None:
    if opcode in _SILENT:
        return
    with pytest.raises(OSError) as error:
        carrier.ask(opcode, bytes(LAYOUTS[opcode].size - 1))
    assert error.value.errno == errno.EINVAL


def test_a_message_without_header_is_no_request() -> None:
    assert device.parse(memoryview(bytes(39))) is None
    assert device.parse(memoryview(bytes(40))) is not None


def test_forgetting_too_much_or_the_root_harms_nobody(carrier: Carrier) -> None:
    nodeid = carrier.look_up(b"file")
    carrier.send(Opcode.FORGET, protocol.FORGET_IN.pack(2**64 - 1), nodeid)
    carrier.send(Opcode.FORGET, protocol.FORGET_IN.pack(2**64 - 1), protocol.ROOT_ID)
    carrier.send(Opcode.FORGET, protocol.FORGET_IN.pack(1), carrier.union.root.ino)
    assert carrier.look_up(b"file") == nodeid


def test_sizes_are_asked_for_first(carrier: Carrier) -> None:
    nodeid = carrier.look_up(b"file")
    value = b"v" * 100
    carrier.ask(Opcode.SETXATTR, protocol.SETXATTR_IN_EXT.pack(100, 0, 0) + b"user.k\0" + value, nodeid)
    for opcode, key, answer in ((Opcode.GETXATTR, b"user.k\0", value), (Opcode.LISTXATTR, b"", b"user.k\0")):
        size = carrier.ask(opcode, protocol.GETXATTR_IN.pack(0) + key, nodeid)
        assert protocol.GETXATTR_OUT.unpack(size) == (len(answer),)
        assert carrier.ask(opcode, protocol.GETXATTR_IN.pack(len(answer)) + key, nodeid) == answer
        with pytest.raises(OSError) as error:
            carrier.ask(opcode, protocol.GETXATTR_IN.pack(len(answer) - 1) + key, nodeid)
        assert error.value.errno == errno.ERANGE


def test_older_setxattr_is_shorter(inside: InProcess) -> None:
    carrier = Carrier(inside.union, Init(0))
    nodeid = carrier.look_up(b"file")
    carrier.ask(Opcode.SETXATTR, protocol.SETXATTR_IN.pack(1, 0) + b"user.k\0v", nodeid)
    assert os.getxattr(inside.upper / "file", "user.k") == b"v"
    carrier.close()


def test_a_listing_is_the_same_in_small_and_large_pieces(inside: InProcess) -> None:
    for number in range(40):
        (inside.lowers[0] / f"name-{'x' * (number % 9)}{number}").touch()
    carrier = Carrier(inside.union)
    listings = []
    for size in (200, 4096, 1 << 20):
        names, offset = [], 0
        while answer := carrier.ask(Opcode.READDIR, protocol.READ_IN.pack(0, offset, size)):
            assert len(answer) <= size
            position = 0
            while position < len(answer):
                _, offset, length, _ = protocol.DIRENT.unpack_from(answer, position)
                position += protocol.DIRENT.size
                names.append(answer[position : position + length])
                position += length + -length % 8
        listings.append(names)
    assert len(listings[0]) == 44
    assert listings[0] == listings[1] == listings[2]
    assert all(node.lookups == 0 for node in inside.union.inodes if node is not inside.union.root)
    carrier.close()


BORDERS = [2**31, 2**32 - 1, 2**63, 2**64 - 1]
NUMBERS = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1), st.sampled_from(BORDERS))
NAMES = st.sampled_from([
    b"file\0", b"dir\0", b"a\0", b"b\0", b"a\0b\0", b"b\0a\0", b"..\0", b"a/b\0", b"", b"\0", b"no end",
    b"x" * 300 + b"\0", b"user.k\0value", b"security.capability\0", b"trusted.overlay.opaque\0y",
])  # fmt: skip
TAILS = st.tuples(NAMES, st.binary(max_size=60)).map(b"".join)
REQUESTS = st.tuples(
    st.one_of(st.sampled_from(list(Opcode)), st.integers(0, 60)),
    st.lists(NUMBERS, min_size=20, max_size=20),
    TAILS,
    st.integers(0, 6),
    st.booleans(),
)
EXAMPLES = int(os.environ.get("PYUNION_FUZZ_EXAMPLES", 40))


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(requests=st.lists(REQUESTS, min_size=1, max_size=30))
def test_no_request_ends_or_corrupts_anything(tmp_path_factory: pytest.TempPathFactory, caplog, requests) -> None:
    """Right and wrong requests in any order: each is answered once, the union stays sound, nothing outside changes."""
    tmp = tmp_path_factory.mktemp("fuzz")
    inside = InProcess(tmp, lowers=1)
    (inside.lowers[0] / "file").write_text("lower")
    (inside.lowers[0] / "dir").mkdir()
    (tmp / "outside").write_text("outside")
    lower, outside = snapshot(inside.lowers[0]), (tmp / "outside").stat().st_mtime_ns
    caplog.clear()
    carrier = Carrier(inside.union)
    known = [protocol.ROOT_ID, carrier.look_up(b"file"), carrier.look_up(b"dir"), 77, 2**64 - 1, 0, protocol.ROOT_ID]
    for opcode, numbers, tail, place, cut in requests:
        layout = LAYOUTS.get(opcode)
        body = (padded(layout, numbers) if layout is not None else b"") + tail
        if opcode == Opcode.DESTROY or (opcode == Opcode.FALLOCATE and numbers[2] > 1 << 30):
            continue
        unique = carrier.send(opcode, body[: len(body) // 2] if cut else body, known[place])
        carrier.settle()
        assert (unique in carrier.replies) == (opcode not in _SILENT)
        answer = carrier.replies.get(unique)
        assert answer != errno.EIO, (opcode, body)
        inside.union.check()
    assert not [record for record in caplog.records if record.exc_info], caplog.text
    carrier.close()
    inside.reopen()
    assert snapshot(inside.lowers[0]) == lower
    assert (tmp / "outside").stat().st_mtime_ns == outside


@settings(max_examples=10 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=st.one_of(
    st.binary(max_size=200),
    st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(Opcode), st.binary(min_size=32, max_size=200)).map(
        lambda parts: protocol.OUT_HEADER.pack(parts[0], 0, 0)[:4] + parts[1].to_bytes(4, "little") + parts[2]
    ),
))
def test_noise_is_answered_once_or_is_no_request(carrier: Carrier, message: bytes) -> None:
    """Whatever the header says of its length, and of who asks."""
    request = device.parse(memoryview(bytearray(message)))
    assert (request is None) == (len(message) < protocol.IN_HEADER.size)
    if request is None or request.opcode == Opcode.DESTROY:
        return
    carrier.replies.clear()
    carrier.dispatcher.handle(request)
    carrier.settle()
    assert list(carrier.replies) == ([] if request.opcode in _SILENT else [request.unique])
    assert carrier.replies.get(request.unique) != errno.EIO
    carrier.union.check()
