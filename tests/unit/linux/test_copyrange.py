"""Copies have the same bytes and holes."""

import os

import pytest

from unionfs.linux.copyrange import copy_data, data_extents

MIB = 1 << 20


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [(0, b"x")],
        [(5 * MIB, b"data")],
        [(0, b"a" * 5000), (3 * MIB + 7, b"b" * MIB)],
        [(4095, b"zz")],
        [(2 * MIB, b"large" * 8 * MIB), (50 * MIB, b"y")],
    ],
)
@pytest.mark.parametrize("tail", [0, 1, 2 * MIB])
def test_data_and_holes_are_kept(tmp_path, pieces, tail):
    with open(tmp_path / "source", "w+b") as source, open(tmp_path / "target", "w+b") as target:
        end = 0
        for position, data in pieces:
            os.pwrite(source.fileno(), data, position)
            end = max(end, position + len(data))
        os.ftruncate(source.fileno(), end + tail)
        copy_data(source.fileno(), target.fileno(), end + tail)
        assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
        assert os.fstat(target.fileno()).st_blocks <= os.fstat(source.fileno()).st_blocks


def test_what_is_to_be_synced_is_the_same(tmp_path):
    data = b"large" * 8 * MIB
    (tmp_path / "source").write_bytes(data)
    with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "w+b") as target:
        copy_data(source.fileno(), target.fileno(), len(data), synced=True)
    assert (tmp_path / "target").read_bytes() == data


def test_who_stops_it_has_it_stopped_between_two_pieces(tmp_path):
    (tmp_path / "source").write_bytes(bytes(40 * MIB))
    with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "w+b") as target:
        with pytest.raises(InterruptedError):
            copy_data(source.fileno(), target.fileno(), 40 * MIB, lambda: True)
        assert os.fstat(target.fileno()).st_blocks * 512 <= 40 * MIB


def test_only_the_first_bytes_are_copied_when_asked(tmp_path):
    (tmp_path / "source").write_bytes(bytes(range(256)) * 100)
    with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "w+b") as target:
        copy_data(source.fileno(), target.fileno(), 1000)
    assert (tmp_path / "target").read_bytes() == (bytes(range(256)) * 100)[:1000]


def test_between_filesystems(tmp_path):
    data = os.urandom(3 * MIB + 11)
    (tmp_path / "source").write_bytes(data)
    fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
    try:
        with open(tmp_path / "source", "rb") as source:
            copy_data(source.fileno(), fd, len(data))
        assert os.pread(fd, len(data) + 1, 0) == data
    finally:
        os.close(fd)


def test_a_file_without_data_has_no_extents(tmp_path):
    with open(tmp_path / "f", "w+b") as f:
        os.ftruncate(f.fileno(), MIB)
        assert list(data_extents(f.fileno(), MIB)) == []
