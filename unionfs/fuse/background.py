"""A union mounted for as long as a `with` block runs, served by a process of its own."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unionfs.core.options import UnionOptions
from unionfs.fuse import driver, kernel, mounting

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@contextmanager
def mount(
    *,
    lower: Sequence[AnyPath],
    upper: AnyPath | None = None,
    workdir: AnyPath | None = None,
    at: AnyPath,
    **options: Any,
) -> Iterator[Path]:
    """Serve a union on the directory `at` until the block is left; gives the mount point as a Path.

    `lower` are the read-only layers, uppermost first; `upper` and `workdir` make it writable. `options` are the other
    fields of UnionOptions, such as dialect="oci" or volatile=True.

        with unionfs.mount(lower=["top", "base"], upper="changes", workdir="work", at="merged") as merged:
            (merged / "etc/hostname").write_text("box")

    A union that is still in use when the block is left goes out of sight at once, and is served until it no longer is.
    Raises UnionError; nothing is mounted then.
    """
    union_options = UnionOptions(
        lower=tuple(map(os.fsencode, lower)),
        upper=None if upper is None else os.fsencode(upper),
        workdir=None if workdir is None else os.fsencode(workdir),
        **options,
    )
    settings = mounting.Settings()
    connection = mounting.mount(union_options, os.fsencode(at), settings)
    pid = driver.fork_driver(connection, settings)
    os.close(connection.fd)
    connection.union.close()
    try:
        yield Path(os.fsdecode(at))
    finally:
        if _unmount(connection.target):
            os.waitpid(pid, 0)


def _unmount(target: bytes) -> bool:
    """Take the mount away; whether its driver ends now."""
    try:
        kernel.unmount(target, lazy=False)
    except OSError as error:
        if error.errno != errno.EBUSY:
            return error.errno == errno.EINVAL  # somebody else has unmounted it
        kernel.unmount(target)
        return False
    return True
