"""Where the scenarios run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import world
from tests.faults.trial import MNT_DETACH, mount
from tests.support import needs, syscalls
from unionfs.linux import mounts


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """A directory in memory with the two lower layers, built once."""
    needs.superuser()
    needs.kernel_overlayfs()
    syscalls.needed()
    place = tmp_path_factory.mktemp("faults")
    mount("tmpfs", place, "")
    for name in ("top", "bottom", "kernel"):
        (place / name).mkdir()
    world.build(place / "top", place / "bottom")
    yield place
    mounts.umount2(os.fsencode(place), MNT_DETACH)
