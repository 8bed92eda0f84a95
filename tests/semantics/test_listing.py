"""Listings (rules 17 to 23)."""

import os

from tests.semantics.sidebyside import (
    TIMES,
    names,
    put,
    run_beside,
)
from tests.support import needs

pytestmark = [needs.root]


def test_17_to_23_listings(tmp_path):
    def build(layers):
        for number in range(300):
            put(layers[number % 2] / f"dir/{number:03}")
        put(layers[0] / "dir/same")
        put(layers[1] / "dir/same")

    def act(root):
        directory = root / "dir"
        seen = []
        with os.scandir(directory) as entries:
            for entry in entries:
                st = entry.stat(follow_symlinks=False)
                seen.append((entry.name, entry.inode() == st.st_ino, entry.is_file(follow_symlinks=False)))
        fd = os.open(directory, os.O_RDONLY)
        first = os.listdir(fd)
        put(directory / "created")
        os.unlink(directory / "007")
        os.lseek(fd, 0, os.SEEK_SET)
        again = set(os.listdir(fd))
        os.close(fd)
        removed = 0
        with os.scandir(directory) as entries:
            for entry in entries:
                os.unlink(directory / entry.name)
                removed += 1
        return sorted(seen), len(first), "created" in again, "007" in again, removed, names(directory)

    run_beside(tmp_path, build, act, ignore=TIMES)
