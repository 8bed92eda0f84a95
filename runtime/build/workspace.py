"""What a build has on disk while it runs: containers, unpacked contexts, mounts; nobody else sees or needs it.

    ROOT/builds/ID/             one build's; removed at its end, or by whoever comes after a crash
                   lock         held (flock) as long as the build lives
                   state/       as ROOT, of RUN's containers: they are in nobody's `pyunion ps`
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runtime.container.kill import end
from runtime.container.store import Store
from runtime.image.store.locks import locked, locked_if_free, open_locked
from runtime.places import Places, names_in
from runtime.trees import remove_tree

_ID_BYTES = 6


class Workspace:
    """One build's directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.containers = _containers(directory)
        self._made = 0

    def make_directory(self) -> str:
        """An empty directory."""
        path = self._new()
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)
        return path

    def make_file(self, data: bytes, mode: int) -> str:
        path = self._new()
        with open(path, "xb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
        return path

    def _new(self) -> str:
        self._made += 1
        return f"{self.directory}/{self._made}"


@contextmanager
def open_workspace(places: Places) -> Iterator[Workspace]:
    """A workspace of our own, and the end of those whose builds were killed."""
    directory = f"{places.root}/builds/{os.urandom(_ID_BYTES).hex()}"
    with locked(f"{places.root}/locks/builds"):
        _sweep(places)
        os.makedirs(directory, mode=0o700)
        lock = open_locked(f"{directory}/lock")
    try:
        yield Workspace(directory)
    finally:
        _remove(directory)
        os.close(lock)


def sweep(places: Places) -> None:
    """Remove what killed builds left, what still runs included, and the caches that RUN mounts."""
    with locked(f"{places.root}/locks/builds"):
        _sweep(places)
    for name in names_in(f"{places.root}/mounts"):
        path = f"{places.root}/mounts/{name}"
        if name.endswith(".lock"):
            with locked_if_free(path) as free:
                if free:
                    remove_tree(path.removesuffix(".lock"))


def _sweep(places: Places) -> None:
    for name in names_in(f"{places.root}/builds"):
        directory = f"{places.root}/builds/{name}"
        with suppress(FileNotFoundError), locked_if_free(f"{directory}/lock") as free:  # not there: its end is near
            if free:
                _remove(directory)


def _remove(directory: str) -> None:
    for container in _containers(directory).all():
        end(container)
    remove_tree(directory)


def _containers(directory: str) -> Store:
    return Store(Places(f"{directory}/state", f"{directory}/run"))
