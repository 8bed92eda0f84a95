"""The containers on disk: their directories, names and locks.

    ROOT/skeleton/              lowest layer of every container: the mount points it needs, where no layer has them
    ROOT/lock                   held while a container is made, named or removed
    ROOT/names/NAME             a symlink to the id; two containers can't have one name
    ROOT/containers/ID/         config.json state.json diff/ work/ mask/
    RUNROOT/ID/lock             there, and locked (flock), as long as the container lives

The lock of a living container is inherited by its processes through fork, never taken by two: it is free exactly
when all that could clean up are dead. So what a crash left is found by trying the locks in RUNROOT (sweep()).
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from runtime.container.config import Config, from_json, to_json
from runtime.container.trees import remove_tree
from runtime.errors import SIGNALLED, Refusal
from runtime.places import Places
from unionfs.linux.process import start_ticks

SHORT_ID = 12
_KILLED = SIGNALLED + 9
_SKELETON_DIRECTORIES = ("proc", "sys", "dev", "etc")
_SKELETON_FILES = ("etc/hostname", "etc/hosts", "etc/resolv.conf")


class Container:
    """One container's places; all else about it is read from there when asked."""

    def __init__(self, places: Places, identity: str) -> None:
        self.places = places
        self.id = identity
        self.directory = f"{places.root}/containers/{identity}"
        self.upper = f"{self.directory}/diff"
        self.workdir = f"{self.directory}/work"
        self.mask = f"{self.directory}/mask"
        self.run_directory = f"{places.runroot}/{identity}"

    def config(self) -> Config:
        """Raises FileNotFoundError if the container was never finished, or is gone."""
        return from_json(_read_json(f"{self.directory}/config.json"))

    def exists(self) -> bool:
        """Whether it was finished: one whose making was interrupted has no configuration."""
        return os.path.exists(f"{self.directory}/config.json")

    def write_config(self, config: Config) -> None:
        _write_json(f"{self.directory}/config.json", to_json(config))

    def state(self) -> dict[str, Any]:
        """What happened last: status, its first process, exit_code, error, started_s, finished_s.

        status is created, running or exited; the process is pid, which started pid_ticks after the machine did.
        """
        try:
            state = _read_json(f"{self.directory}/state.json")
        except FileNotFoundError:
            state = {"status": "created", "pid": 0, "pid_ticks": 0}
        if state["status"] == "running" and not os.path.exists(self.run_directory):
            state.update(status="exited", exit_code=_KILLED, finished_s=state["started_s"])  # the machine went down
        return state

    def write_state(self, **changes: object) -> None:
        """Replace the state by `changes` over what it was. Only the holder of the lock calls this."""
        _write_json(f"{self.directory}/state.json", {**self.state(), **changes})

    def lock(self) -> int:
        """Take the container for this process and its children: the lock's descriptor.

        Raises Refusal if it is taken: the container runs.
        """
        while True:
            os.makedirs(self.run_directory, mode=0o700, exist_ok=True)
            fd = os.open(f"{self.run_directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise Refusal(f"container {self.id[:SHORT_ID]} is running") from None
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)  # its last holder removed it between our two calls

    def kill(self) -> None:
        """End the container if it runs; return when nothing of it does."""
        state = self.state()
        if state["pid"]:
            with suppress(FileNotFoundError, ProcessLookupError):
                _kill(state["pid"], state["pid_ticks"])
        self.wait_until_free()

    def wait_until_free(self) -> None:
        """Return when no process of the container is left."""
        with suppress(FileNotFoundError):
            fd = os.open(f"{self.run_directory}/lock", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH)
            finally:
                os.close(fd)

    def release(self) -> None:
        """Take away what exists only while the container runs. Only the holder of the lock calls this."""
        remove_tree(self.run_directory)

    def remove(self) -> None:
        """Take away all of it. Only the holder of the lock calls this."""
        names = f"{self.places.root}/names"
        for name in _listdir(names):
            if _link(self.places, name) == self.id:
                os.unlink(f"{names}/{name}")
        remove_tree(self.directory)
        self.release()


class Store:
    """All containers of one pair of directories."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def prepare(self) -> None:
        """Make the directories that are missing."""
        root, runroot = self.places
        for directory in (root, f"{root}/containers", f"{root}/names", runroot):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        self._make_skeleton()

    def create(self, name: str) -> tuple[Container, int, str]:
        """A new, empty container, its lock, and the name it got (its short id if `name` is empty).

        Raises Refusal if the name is in use.
        """
        identity = os.urandom(32).hex()
        container = Container(self.places, identity)
        name = name or identity[:SHORT_ID]
        with self._exclusive():
            self._claim(name, identity)
            lock = container.lock()
            for directory in (container.directory, container.upper, container.workdir):
                os.mkdir(directory, mode=0o700)
            os.chmod(container.upper, 0o755)  # it is the root directory seen inside, if no layer says otherwise
        return container, lock, name

    def take(self, container: Container) -> int:
        """Lock a container that exists. Raises Refusal if it runs."""
        with self._exclusive():
            return container.lock()

    def all(self) -> list[Container]:
        """Every container, the newest first."""
        found = [Container(self.places, name) for name in _listdir(f"{self.places.root}/containers")]
        return sorted((container for container in found if container.exists()), key=_created, reverse=True)

    def find(self, text: str) -> Container:
        """The container of that name, id or beginning of an id. Raises Refusal: none, or more than one."""
        identity = _link(self.places, text) if _is_name(text) else ""
        if identity and os.path.isdir(f"{self.places.root}/containers/{identity}"):
            return Container(self.places, identity)
        matches = [container for container in self.all() if text and container.id.startswith(text)]
        if not matches:
            raise Refusal(f"no such container: {text}", status=1)
        if len(matches) > 1:
            raise Refusal(f"{text} is the beginning of more than one container's id", status=1)
        return matches[0]

    def sweep(self) -> None:
        """Clean up after containers of which no process is left to do it.

        Such a container has its run directory still; after a restart of the machine no container has one.
        """
        root, runroot = self.places
        restarted = not os.path.isdir(runroot)
        for identity in _listdir(f"{root}/containers" if restarted else runroot):
            self._sweep_one(Container(self.places, identity), restarted)

    def _sweep_one(self, container: Container, restarted: bool) -> None:
        with self._exclusive():
            if not restarted and not os.path.isdir(container.run_directory):
                return
            try:
                lock = container.lock()
            except Refusal:
                return
        if container.exists() and container.state()["status"] == "exited":
            container.release()
        else:
            finish(container, _KILLED, "its processes were killed")
        os.close(lock)

    def _claim(self, name: str, identity: str) -> None:
        link = f"{self.places.root}/names/{name}"
        holder = _link(self.places, name)
        if holder and os.path.isdir(f"{self.places.root}/containers/{holder}"):
            raise Refusal(
                f'the container name "{name}" is already in use by container {holder[:SHORT_ID]}: '
                f"remove that one (pyunion rm {name}) or take another name"
            )
        with suppress(FileNotFoundError):
            os.unlink(link)
        os.symlink(identity, link)

    def _make_skeleton(self) -> None:
        path = skeleton(self.places)
        if os.path.isdir(path):
            return
        draft = f"{path}.{os.getpid()}"
        remove_tree(draft)
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
    def _exclusive(self) -> Iterator[None]:
        fd = os.open(f"{self.places.root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def skeleton(places: Places) -> str:
    """The layer with the mount points every container needs."""
    return f"{places.root}/skeleton"


def finish(container: Container, exit_code: int, error: str) -> None:
    """Record that the container ended, or remove it: if it was to be, or if its command never ran.

    Only the holder of its lock calls this.
    """
    if not container.exists() or container.state()["status"] == "created" or container.config().auto_remove:
        container.remove()
        return
    container.write_state(status="exited", pid=0, exit_code=exit_code, error=error, finished_s=time.time())
    container.release()


def _kill(pid: int, ticks: int) -> None:
    """Kill the process `pid` that started at `ticks`. Raises OSError: ENOENT, ESRCH (it is gone)."""
    pidfd = os.pidfd_open(pid)
    try:
        if start_ticks(pid) == ticks:  # else the number is a stranger's by now
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _created(container: Container) -> float:
    try:
        return os.stat(f"{container.directory}/config.json").st_mtime
    except FileNotFoundError:
        return 0.0


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def _is_name(text: str) -> bool:
    return bool(text) and "/" not in text and not text.startswith(".")


def _link(places: Places, name: str) -> str:
    try:
        return os.readlink(f"{places.root}/names/{name}")
    except FileNotFoundError:
        return ""


def _read_json(path: str) -> dict[str, Any]:
    import json

    with open(path, encoding="ascii") as file:
        value = json.load(file)
    assert isinstance(value, dict), path
    return value


def _write_json(path: str, value: dict[str, Any]) -> None:
    """Replace the file at once: a reader sees the old text or the new one."""
    import json

    draft = f"{path}.new"
    with open(draft, "w", encoding="ascii") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.rename(draft, path)
