"""The reader of archives on whatever bytes: it reads, or it refuses; and what the writer writes, it reads."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runtime.image.errors import Corrupt
from runtime.image.tar.acl import from_text
from runtime.image.tar.limits import Limits
from runtime.image.tar.members import (
    BLOCK,
    CHAR,
    DIRECTORY,
    FIFO,
    FILE,
    LINK,
    SYMLINK,
    Member,
    octal,
    parse_records,
    time_ns,
)
from runtime.image.tar.reader import TarReader
from runtime.image.tar.unpack import unpack
from runtime.image.tar.writer import TarWriter
from runtime.trees import remove_tree
from tests.image_store.hostile import corpus
from tests.image_store.layouts import archive, member
from tests.support import needs
from tests.support.tree import snapshot

SEEDS = [*corpus("/nowhere/canary").values(), archive([member("a/b", data=b"x" * 700), member("c", tarfile.DIRTYPE)])]
names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))
small = st.integers(0, 2**40)
xattr_keys = st.binary(min_size=1, max_size=20).filter(lambda key: b"=" not in key and b"\0" not in key)


@st.composite
def members_of_all_kinds(draw: st.DrawFn) -> Member:
    kind = draw(st.sampled_from([FILE, LINK, SYMLINK, CHAR, BLOCK, DIRECTORY, FIFO]))
    size = draw(st.integers(0, 2000)) if kind == FILE else 0
    time = draw(st.integers(-(10**19), 10**19))
    device = (draw(st.integers(0, 4095)), draw(st.integers(0, 2**20))) if kind in (CHAR, BLOCK) else (0, 0)
    return Member(
        kind, draw(names), draw(st.integers(0, 0o7777)), draw(small), draw(small), size, time, time,
        draw(names) if kind in (LINK, SYMLINK) else b"", device,
        draw(st.dictionaries(xattr_keys, st.binary(max_size=50))), None,
    )  # fmt: skip


@given(st.lists(members_of_all_kinds(), max_size=6), st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(written: list[Member], piece: int) -> None:
    """Whatever pieces the archive comes in. Times are read as atimes too: the writer has none of their own."""
    buffer = io.BytesIO()
    writer = TarWriter(buffer.write)
    for number, one in enumerate(written):
        writer.add(one, bytes([number]) * one.size)
    writer.close()
    buffer.seek(0)
    reader = TarReader(lambda: buffer.read(piece))
    found = []
    for one in reader:
        found.append((one._replace(atime_ns=0), b"".join(reader.data())))
    expected = [(one._replace(atime_ns=0), bytes([n]) * one.size) for n, one in enumerate(written)]
    for (one, data), (other, content) in zip(found, expected, strict=True):
        assert (one, data) == (other, content)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """An archive with bytes changed, cut, or swapped."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 8))):
        data[draw(st.integers(0, min(len(data), 3000) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):  # make the checksums right again, or nothing gets further than the first header
        for start in range(0, min(len(data), 4096) - 511, 512):
            block = data[start : start + 512]
            total = sum(block[:148]) + 256 + sum(block[156:])
            data[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(data[: draw(st.integers(1, len(data)))])


@needs.root
@given(spoilt())
@example(b"\0" * 1024)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spoilt_archives_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    canary = tmp_path / "canary"
    canary.mkdir(exist_ok=True)
    (canary / "file").write_bytes(b"precious")
    before = snapshot(canary)
    out = tmp_path / "out"
    remove_tree(str(out))
    out.mkdir()
    root = os.open(out, os.O_RDONLY)
    pieces = iter([data])
    try:
        unpack(lambda: next(pieces, b""), root, limits=Limits(members=1000))
    except (Corrupt, OSError):
        pass  # ours, or the filesystem's own refusal
    finally:
        os.close(root)
    assert snapshot(canary)["file"].sha256 == before["file"].sha256
    assert sorted(os.listdir(tmp_path)) == ["canary", "out"]


@given(st.binary(max_size=200))
def test_records_are_read_or_refused(data: bytes) -> None:
    try:
        parse_records(data)
    except Corrupt:
        return


@given(st.binary(min_size=8, max_size=12))
def test_numbers_are_read_or_refused(field: bytes) -> None:
    try:
        octal(field)
    except Corrupt:
        return


@pytest.mark.parametrize(("field", "number"), [
    (b"0000644\0", 0o644), (b"   644 \0", 0o644), (b"\0" * 8, 0), (b"\x80" + (2**40).to_bytes(11, "big"), 2**40),
    (b"\xff" * 12, -1), (b"\xff" * 11 + b"\xfe", -2), (b"77777777", 0o77777777),
])  # fmt: skip
def test_numbers(field: bytes, number: int) -> None:
    assert octal(field) == number


@pytest.mark.parametrize(("text", "time"), [
    (b"1.5", 1_500_000_000), (b"-1.5", -1_500_000_000), (b"0.000000001", 1), (b"1", 10**9),
    (b"2.1234567899", 2_123_456_789),
])  # fmt: skip
def test_times(text: bytes, time: int) -> None:
    assert time_ns(text) == time


def test_an_acl_in_words_of_unknown_users_is_none() -> None:
    assert from_text(b"user::rwx,user:somebody:r--,group::r-x,other::---") is None
    assert from_text(b"user::rwx,user:somebody:r--:77,group::r-x,mask::rwx,other::---") is not None
