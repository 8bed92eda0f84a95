"""The end of a program that has forked: without the interpreter's own, which takes 6 ms of the caller's time.

It would free object by object, and so copy the memory that is shared with the driver. Nothing here needs it: files are
closed by the kernel, and threads that are still there are nobody's.
"""

import os
import sys
from typing import NoReturn


def end(status: int) -> NoReturn:
    """End the process with `status`, or with 1 if what it printed can't be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # as it is if it was closed when Python started
                stream.flush()
        except OSError:
            status = status or 1
    os._exit(status)
