"""What is agreed at the start."""

import pytest

from unionfs.fuse.direct import protocol, session
from unionfs.fuse.direct.protocol import Init
from unionfs.fuse.direct.session import UnsupportedKernelError, Wishes, negotiate

EVERYTHING = Init((1 << 64) - 1)


def fields(reply: bytes) -> tuple[int, int, Init, int]:
    major, minor, _, flags, _, _, _, _, _, flags2, depth = protocol.INIT_OUT.unpack(reply)
    return major, minor, Init(flags | flags2 << 32), depth


def test_the_smaller_version_is_spoken() -> None:
    for theirs, spoken in ((31, 31), (45, 45), (99, protocol.MINOR)):
        agreed, reply = negotiate(7, theirs, EVERYTHING, Wishes())
        assert agreed is not None
        assert (agreed.minor, fields(reply)[:2]) == (spoken, (7, spoken))


def test_a_newer_major_version_is_asked_to_come_again() -> None:
    agreed, reply = negotiate(8, 0, EVERYTHING, Wishes())
    assert agreed is None
    assert fields(reply)[0] == 7


@pytest.mark.parametrize("version", [(7, 30), (7, 0), (6, 99), (0, 0)])
def test_older_kernels_are_refused_by_name(version: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedKernelError, match=r"Linux 5\.4"):
        negotiate(*version, EVERYTHING, Wishes())


def test_nothing_is_used_that_is_not_offered() -> None:
    agreed, reply = negotiate(7, 31, Init(0), Wishes(stack_depth=1))
    assert agreed is not None
    assert agreed.features == 0
    assert fields(reply)[2:] == (0, 0)


def test_features_beyond_the_first_32_need_their_extension() -> None:
    agreed, reply = negotiate(7, 45, EVERYTHING & ~Init.INIT_EXT, Wishes(stack_depth=1))
    assert agreed is not None
    assert Init.PASSTHROUGH not in agreed.features
    assert (fields(reply)[2] >> 32, fields(reply)[3]) == (0, 0)


def test_passthrough_tells_how_deep_it_stacks() -> None:
    for depth in (1, 2):
        agreed, reply = negotiate(7, 45, EVERYTHING, Wishes(stack_depth=depth))
        assert agreed is not None
        assert Init.PASSTHROUGH in agreed.features
        assert fields(reply)[3] == depth
    assert fields(negotiate(7, 45, EVERYTHING, Wishes())[1])[3] == 0


def test_one_way_to_take_set_id_bits_is_agreed_on() -> None:
    both = Init.HANDLE_KILLPRIV | Init.HANDLE_KILLPRIV_V2
    for offered, expected in (
        (EVERYTHING, Init.HANDLE_KILLPRIV_V2),
        (EVERYTHING & ~Init.HANDLE_KILLPRIV_V2, Init.HANDLE_KILLPRIV),
        (EVERYTHING & ~both, Init(0)),
    ):
        agreed, _ = negotiate(7, 45, offered, Wishes())
        assert agreed is not None
        assert agreed.features & both == expected


def test_acls_are_a_choice() -> None:
    for acl in (True, False):
        agreed, _ = negotiate(7, 45, EVERYTHING, Wishes(acl=acl))
        assert agreed is not None
        assert (Init.POSIX_ACL in agreed.features) == acl


def test_where_callers_cannot_be_looked_up_the_kernel_is_to_say_who_they_are() -> None:
    for idmap in (True, False):
        agreed, _ = negotiate(7, 45, EVERYTHING, Wishes(idmap=idmap))
        assert agreed is not None
        assert (Init.ALLOW_IDMAP in agreed.features) == idmap


def test_the_upper_flags_count_only_with_their_extension() -> None:
    assert session.parse((7, 45, 0, Init.INIT_EXT), 1 << 5) == (7, 45, Init.INIT_EXT | Init.PASSTHROUGH)
    assert session.parse((7, 35, 0, Init.MAX_PAGES), 1 << 5) == (7, 35, Init.MAX_PAGES)
