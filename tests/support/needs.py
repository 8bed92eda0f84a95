"""Prerequisites of a test: skip with the reason when one is missing.

    pytestmark = needs.root

or, inside a test or fixture, `needs.commands("podman", "buildah")`. With PYUNION_TEST_STRICT=1, as the
continuous integration sets it, a missing prerequisite fails: a machine that should have everything must
not stay green by skipping.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """End the test: skipped for `reason`, or failed where nothing may be missing."""
    if os.environ.get("PYUNION_TEST_STRICT") == "1":
        pytest.fail(f"missing here: {reason}")
    pytest.skip(reason)


def commands(*names: str) -> None:
    """Need every program of `names` on PATH."""
    absent = [name for name in names if shutil.which(name, path=search_path()) is None]
    if absent:
        missing(f"not installed: {', '.join(absent)}")


def superuser() -> None:
    """Need uid 0 (mount(2), mknod, trusted.* xattrs)."""
    if os.geteuid() != 0:
        missing("needs root")


def fuse_device() -> None:
    """Need a /dev/fuse that opens."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        missing(f"/dev/fuse: {error.strerror}")


def kernel_overlayfs() -> None:
    """Need the kernel's own overlayfs, the oracle."""
    superuser()
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        missing("the kernel has no overlayfs")


def search_path() -> str:
    """PATH with the administrator's folders, which a plain `su` leaves out."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"


root = pytest.mark.usefixtures("needs_root")
"""Mark: the test runs as root only."""
