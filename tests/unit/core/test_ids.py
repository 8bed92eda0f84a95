"""Maps of ids, access control lists under them, and the xattr that holds owners: without a mount."""

import errno
import os
import stat
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.inprocess import InProcess
from unionfs.core import override
from unionfs.core.ids import IdMapping, Ids, acl_mode, overlap
from unionfs.core.layer import Layer
from unionfs.core.model import NOBODY, Caller
from unionfs.core.ops import create, lookup
from unionfs.core.override import Owner
from unionfs.linux.at import At

ROWS = ((0, 1000, 1), (1, 110000, 65536))
LAYER = Layer(1, b"", -1)


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def ids(rows: tuple[tuple[int, int, int], ...] = ROWS) -> Ids:
    return Ids(IdMapping(rows), IdMapping(rows), key=b"", upper_is_mapped=False)


@given(st.integers(0, 2**32 - 2))
def test_a_map_goes_both_ways(stored: int) -> None:
    mapping = IdMapping(ROWS)
    shown = mapping.shown(stored)
    assert (shown is None) == (stored > 65536)
    if shown is not None:
        assert mapping.stored(shown) == stored
        assert mapping.owner(stored) == shown
    else:
        assert mapping.owner(stored) == NOBODY


def test_squashed_owners_hide_what_is_stored() -> None:
    mapping = IdMapping(ROWS, squash=5)
    assert {mapping.owner(stored) for stored in (0, 7, 70000)} == {5}
    assert (mapping.stored(1000), mapping.shown(0)) == (0, 1000)


def test_no_rows_map_nothing() -> None:
    mapping = IdMapping()
    assert (mapping.owner(70000), mapping.stored(70000), mapping.shown(70000)) == (70000, 70000, 70000)


@pytest.mark.parametrize(("rows", "found"), [
    ((), False), (ROWS, False), (((0, 5, 10), (10, 15, 1)), False),
    (((0, 5, 10), (9, 15, 1)), True), (((0, 5, 10), (10, 14, 1)), True), (((5, 0, 1), (5, 0, 1)), True),
])
def test_overlapping_rows(rows: tuple[tuple[int, int, int], ...], found: bool) -> None:
    assert overlap(rows) is found


def test_who_is_not_mapped() -> None:
    assert ids().creator(Caller(1000, 110004, 7, 0o22)) == Caller(0, 5, 7, 0o22)
    assert ids().creator(Caller(0, 0)) == Caller(NOBODY, NOBODY)
    for caller in (Caller(5, 1000), Caller(1000, 5)):
        with pytest.raises(OSError, match=f"Errno {errno.EOVERFLOW}"):
            ids().creator(caller)
    assert ids().stored_owner(None, 1000) == (-1, 0)
    with pytest.raises(OSError, match=f"Errno {errno.EINVAL}"):
        ids().stored_owner(5, None)


def test_an_access_control_list_there_and_back() -> None:
    users = acl((1, 6, 2**32 - 1), (2, 4, 1000), (2, 4, 110004), (4, 4, 2**32 - 1), (8, 2, 110000), (16, 6, 2**32 - 1))
    stored = ids().stored_acl(users)
    assert stored == acl(
        (1, 6, 2**32 - 1), (2, 4, 0), (2, 4, 5), (4, 4, 2**32 - 1), (8, 2, 1), (16, 6, 2**32 - 1)
    )
    assert ids().shown_acl(stored, LAYER, None) == users
    assert acl_mode(users) == 0o660


@pytest.mark.parametrize("value", [b"", b"\2\0\0", acl((1, 6, 0))[:-1]])
def test_what_is_no_access_control_list(value: bytes) -> None:
    with pytest.raises(OSError, match=f"Errno {errno.EINVAL}"):
        ids().stored_acl(value)


@pytest.mark.parametrize(("value", "said"), [
    (b"0:0:40755", Owner(0, 0, 0o755)), (b"1:2:0644", Owner(1, 2, 0o644)), (b"1:2:104755", Owner(1, 2, 0o4755)),
    (b"1:2:644:file", Owner(1, 2, 0o644, b"file")), (b"1:2:644:char-1-3", Owner(1, 2, 0o644, b"char-1-3")),
    (b"-1:4294967295:644", Owner(NOBODY, NOBODY, 0o644)), (b"1:2", None), (b"1:2:8", None), (b"x", None),
])
def test_what_an_xattr_says(tmp_path: Path, value: bytes, said: Owner | None) -> None:
    os.setxattr(tmp_path, b"user.fuseoverlayfs.override_stat", value)
    place = At(os.open(tmp_path, os.O_PATH))
    assert override.read(place, override.USER) == said
    os.close(place.dirfd)


@pytest.mark.parametrize("kind", [b"char", b"char-1", b"pipe-1-2", b"block-1-99999999", b"dir", b"symlink", b"?"])
def test_a_kind_that_means_nothing_changes_nothing(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "file").touch()
    found = (tmp_path / "file").stat()
    assert Owner(1, 2, 0o600, kind).over(found) == (stat.S_IFREG | 0o600, 0)


def test_a_union_without_maps_has_no_ids(tmp_path: Path) -> None:
    """So that they cost those who don't use them nothing."""
    union = InProcess(tmp_path, dialect="auto").union
    assert union.ids is None
    assert union.creator is not None
    union.close()


def test_an_object_that_cannot_say_whose_it_is_is_not_left_behind(tmp_path: Path) -> None:
    """The xattr doesn't fit: what was made goes again."""
    stage = InProcess(tmp_path, dialect="auto", xattr_permissions=2)
    union = stage.union
    broken = Ids(IdMapping(), IdMapping(), key=b"user." + b"x" * 300, upper_is_mapped=False)
    union.ids = broken
    for make in (lambda: create.mkdir(union, union.root, b"new", 0o755, Caller(0, 0)),
                 lambda: create.create(union, union.root, b"new", 0o644, os.O_RDWR, Caller(0, 0))):
        with pytest.raises(OSError, match=f"Errno {errno.ERANGE}"):
            make()
        with pytest.raises(FileNotFoundError):
            lookup.lookup(union, union.root, b"new")
    assert not (stage.upper / "new").exists()
    union.check()
    union.close()
