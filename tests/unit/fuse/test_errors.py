"""Errors as FUSE is told them."""

import errno

from unionfs.fuse.errors import errno_of


def test_an_oserror_is_its_errno_and_a_bug_is_eio_with_a_traceback(caplog):
    assert errno_of(FileNotFoundError(errno.ENOENT, "no")) == errno.ENOENT
    assert caplog.text == ""
    try:
        {}["bug"]
    except KeyError as error:
        assert errno_of(error) == errno.EIO
    assert "KeyError: 'bug'" in caplog.text
