"""A process that loads an image, and can kill itself before its N-th change of the disk.

    python -m tests.image_store.loader FOLDER LAYOUT [N]

Without N it prints how many changes there were: an audit hook hears of each open, rename, link, and so on.
"""

import os
import signal
import sys
from pathlib import Path

from runtime.image.archive.load import load
from tests.image_store.layouts import make_store

CHANGES = frozenset((
    "open", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "os.truncate", "fcntl.flock",
))  # fmt: skip


def main(folder: str, layout: str, limit: int = -1) -> None:
    count = 0

    def hear(event: str, _: object) -> None:
        nonlocal count
        if event in CHANGES:
            count += 1
            if count == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    store = make_store(Path(folder))
    sys.addaudithook(hear)
    load(store, layout)
    print(count)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
