"""Errors as FUSE is told them."""

import errno

import pytest

from unionfs.fuse.errors import errno_of


def test_an_oserror_is_its_errno_and_a_bug_is_eio_with_a_traceback(caplog):
    assert errno_of(FileNotFoundError(errno.ENOENT, "no")) == errno.ENOENT
    assert caplog.text == ""
    with pytest.raises(KeyError) as caught:
        dict[str, int]()["bug"]
    assert errno_of(caught.value) == errno.EIO
    assert "KeyError: 'bug'" in caplog.text
