"""The one translator from Python's exceptions to FUSE's errno."""

import errno

from unionfs.fuse.log import log


def errno_of(error: BaseException) -> int:
    """The errno to answer a request with: an OSError's own; EIO for a bug, whose traceback goes to the log."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    log().error("a request failed by a bug", exc_info=error)
    return errno.EIO
