"""All containers of one pair of directories: their names, their making and finding, and what crashes left of them.

    ROOT/skeleton/        lowest layer of every container: the mount points it needs, where no layer has them
    ROOT/lock             held while a container is made, named or removed
    ROOT/names/NAME       a symlink to the id; two containers can't have one name
    ROOT/containers/ID/   and RUNROOT/ID/: see record.py

What a crash left is found by trying the locks in RUNROOT (sweep()).
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from runtime.container.config import Config
from runtime.container.record import RUNNING, Container, bury, named
from runtime.drafts import beside
from runtime.errors import Refusal
from runtime.names import SHORT_ID
from runtime.places import Places, identities
from runtime.rights import refuse_root_of_a_namespace
from runtime.trees import remove_tree

_SKELETON_DIRECTORIES = ("proc", "sys", "dev", "etc")
_SKELETON_FILES = ("etc/hostname", "etc/hosts", "etc/resolv.conf")

_OTHERS_END_WITHIN_S = 10
_PAUSE_S = 0.01


class Store:
    """All containers of one pair of directories."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def prepare(self) -> None:
        """Make the directories that are missing. Raises Refusal: who asks can't have containers."""
        refuse_root_of_a_namespace()
        root, runroot = self.places
        for directory in (root, f"{root}/containers", f"{root}/names", runroot):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        self._make_skeleton()

    def reserve(self) -> tuple[Container, int]:
        """A container that is yet to be made, and its lock: from here on a sweep finds what is left of it."""
        container = Container(self.places, os.urandom(32).hex())
        with self.exclusive():
            return container, container.lock()

    def create(self, container: Container, name: str) -> str:
        """Make the container, empty: the name it got, which is its short id if `name` is empty.

        Raises Refusal if the name is in use. Only the holder of the lock calls this.
        """
        name = name or container.id[:SHORT_ID]
        with self.exclusive():
            self._refuse_taken(name)
            for directory in (container.directory, container.upper, container.workdir):
                os.mkdir(directory, mode=0o700)
            self._give_name(name, container.id)
            os.chmod(container.upper, 0o755)  # it is the root directory seen inside, if no layer says otherwise
        return name

    def rename(self, container: Container, name: str) -> None:
        """Give a container another name. Raises Refusal if the name is in use."""
        with self.exclusive():
            config = container.config()
            self._refuse_taken(name)
            self._give_name(name, container.id)
            container.write_config(config._replace(name=name))
            with suppress(FileNotFoundError):
                os.unlink(f"{self.places.root}/names/{config.name}")

    def change(self, container: Container, change: Callable[[Config], Config]) -> None:
        """Give a container another configuration, made of the one it has. Raises FileNotFoundError: it is gone."""
        with self.exclusive():
            container.write_config(change(container.config()))

    def take(self, container: Container) -> int:
        """Lock a container that exists, once whoever records its end, or looks into it, is through.

        Raises Refusal if it runs, or that takes long.
        """
        until_s = time.monotonic() + _OTHERS_END_WITHIN_S
        while True:
            with self.exclusive():
                try:
                    return container.lock()
                except Refusal:
                    if container.state()["status"] in RUNNING:
                        raise
            if time.monotonic() > until_s:
                raise Refusal(f"container {container.id[:SHORT_ID]} is in use by another command")
            time.sleep(_PAUSE_S)

    def all(self) -> list[Container]:
        """Every container, the newest first."""
        found = [Container(self.places, name) for name in identities(f"{self.places.root}/containers")]
        return sorted((container for container in found if container.exists()), key=_created, reverse=True)

    def find(self, text: str) -> Container:
        """The container of that name, id or beginning of an id. Raises Refusal: none, or more than one."""
        identity = named(self.places, text) if _is_name(text) else ""
        if identity and os.path.isdir(f"{self.places.root}/containers/{identity}"):
            return Container(self.places, identity)
        matches = [container for container in self.all() if text and container.id.startswith(text)]
        if not matches:
            raise Refusal(f"no such container: {text}", status=1)
        if len(matches) > 1:
            raise Refusal(f"{text} is the beginning of more than one container's id", status=1)
        return matches[0]

    def find_running(self, text: str) -> Container:
        """The same of those that run. Raises Refusal."""
        container = self.find(text)
        if container.state()["status"] != "running":
            raise Refusal(f"container {container.config().name} is not running", status=1)
        return container

    def sweep(self) -> None:
        """Clean up after containers of which no process is left to do it.

        Such a container has its run directory still; after a restart of the machine no container has one.
        """
        root, runroot = self.places
        if not os.path.isdir(root):
            return
        restarted = not os.path.isdir(runroot)
        for identity in identities(f"{root}/containers" if restarted else runroot):
            self._sweep_one(Container(self.places, identity), restarted)

    def _sweep_one(self, container: Container, restarted: bool) -> None:
        with self.exclusive():
            if not restarted and not os.path.isdir(container.run_directory):
                return
            try:
                lock = container.lock()
            except Refusal:
                return
        bury(container, "its processes were killed")
        os.close(lock)

    def _refuse_taken(self, name: str) -> None:
        holder = named(self.places, name)
        if holder and os.path.isdir(f"{self.places.root}/containers/{holder}"):
            raise Refusal(
                f'the container name "{name}" is already in use by container {holder[:SHORT_ID]}: '
                f"remove that one (pyunion rm {name}) or take another name"
            )

    def _give_name(self, name: str, identity: str) -> None:
        link = f"{self.places.root}/names/{name}"
        with suppress(FileNotFoundError):
            os.unlink(link)
        os.symlink(identity, link)

    def _make_skeleton(self) -> None:
        path = skeleton(self.places)
        if os.path.isdir(path):
            return
        draft = beside(path)
        for name in _SKELETON_DIRECTORIES:
            os.makedirs(f"{draft}/{name}")
            os.chmod(f"{draft}/{name}", 0o755)
        for name in _SKELETON_FILES:
            with open(f"{draft}/{name}", "xb") as file:
                os.fchmod(file.fileno(), 0o644)
        os.chmod(draft, 0o755)
        try:
            os.rename(draft, path)
        except OSError:  # another process was quicker
            remove_tree(draft)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else makes, names or removes one meanwhile."""
        fd = os.open(f"{self.places.root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def skeleton(places: Places) -> str:
    """The layer with the mount points every container needs."""
    return f"{places.root}/skeleton"


def _created(container: Container) -> float:
    try:
        return os.stat(f"{container.directory}/config.json").st_mtime
    except FileNotFoundError:
        return 0.0


def _is_name(text: str) -> bool:
    return bool(text) and "/" not in text and not text.startswith(".")
