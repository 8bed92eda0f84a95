"""A process that changes a store, and can kill itself before its N-th change of the disk.

    python -m tests.image_store.loader load FOLDER LAYOUT [N]      take its image in
    python -m tests.image_store.loader remove FOLDER NAME [N]      remove an image, and what it alone used
    python -m tests.image_store.loader churn FOLDER LAYOUT [N]     both in turn, ten times, and look at what is there

Without N it prints how many changes there were: an audit hook hears of each open, rename, link, and so on.
"""

import os
import signal
import sys
from pathlib import Path

from runtime.image.archive.load import load
from runtime.image.store import ImageStore
from tests.image_store.layouts import make_store

CHANGES = frozenset((
    "open", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "os.truncate", "fcntl.flock",
))  # fmt: skip


def take_in(store: ImageStore, layout: str) -> None:
    load(store, layout)


def remove(store: ImageStore, name: str) -> None:
    store.remove(store.resolve(name))
    store.collect(set)


def churn(store: ImageStore, layout: str) -> None:
    for _ in range(10):
        with store.adding():
            (image,) = load(store, layout)
            for directory in store.layers_of(image):
                assert os.listdir(directory), directory
        store.remove(image)
        store.collect(set)


VERBS = {"load": take_in, "remove": remove, "churn": churn}


def main(verb: str, folder: str, what: str, limit: int = -1) -> None:
    count = 0

    def hear(event: str, _: object) -> None:
        nonlocal count
        if event in CHANGES:
            count += 1
            if count == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    store = make_store(Path(folder))
    sys.addaudithook(hear)
    VERBS[verb](store, what)
    print(count)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
