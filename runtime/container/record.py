"""A container's record on disk: what it was asked to be, how it is, and the lock that says that it lives.

    ROOT/containers/ID/config.json   as `run` was told
                       state.json    what happened last
                       ID-json.log   what its command wrote, and .1, .2… if it was rotated
                       diff/ work/   upper and work directory of its root filesystem
                       mask/         a layer that hides ROOT and RUNROOT from it, where its layers show them
    RUNROOT/ID/lock                  there, and locked (flock), as long as the container lives
               control               the monitor's socket, see control.py
               paused                there while it is

The lock of a living container is inherited by its processes through fork, never taken by two: it is free exactly
when all that could clean up are dead.
"""

import errno
import fcntl
import json
import os
import signal
import time
from contextlib import suppress
from typing import Any

from runtime.container.config import Config, from_json, to_json
from runtime.errors import FULL, SIGNALLED, Refusal
from runtime.errors import named as naming
from runtime.names import SHORT_ID
from runtime.places import Places, names_in
from runtime.trees import remove_tree
from unionfs.linux.process import open_pidfd

RUNNING = ("running", "restarting")
KILLED = SIGNALLED + signal.SIGKILL
_CREATING = {"status": "creating", "pid": 0, "pid_ticks": 0, "exit_code": 0, "error": "", "restarts": 0}


class Damaged(Refusal):
    """What a container was asked to be can't be read: the machine went down, or somebody wrote to it."""


class Container:
    """One container's places; all else about it is read from there when asked."""

    def __init__(self, places: Places, identity: str) -> None:
        self.places = places
        self.id = identity
        self.directory = f"{places.root}/containers/{identity}"
        self.upper = f"{self.directory}/diff"
        self.workdir = f"{self.directory}/work"
        self.mask = f"{self.directory}/mask"
        self.log = f"{self.directory}/{identity}-json.log"
        self.run_directory = f"{places.runroot}/{identity}"
        self.filters = f"{places.root}/seccomp"

    def config(self) -> Config:
        """Raises FileNotFoundError if the container was never finished, or is gone; Damaged."""
        path = f"{self.directory}/config.json"
        try:
            return from_json(_read_json(path))
        except (KeyError, TypeError, ValueError):
            way_out = f"`pyunion rm -f {self.id[:SHORT_ID]}` removes the container"
            raise Damaged(f"{path} is damaged; {way_out}", status=1) from None

    def config_if_sound(self) -> Config | None:
        """None if there is none, or if it is damaged."""
        try:
            return self.config()
        except (FileNotFoundError, Damaged):
            return None

    def exists(self) -> bool:
        """Whether it was finished: one whose making was interrupted has no configuration."""
        return os.path.exists(f"{self.directory}/config.json")

    def write_config(self, config: Config) -> None:
        _write_json(f"{self.directory}/config.json", to_json(config))

    def state(self) -> dict[str, Any]:
        """What happened last: status, its first process, exit_code, error, started_s, finished_s, restarts.

        status is creating (by `run`, whose failure removes it), created, running, restarting or exited; the process
        is pid, which started pid_ticks after the machine did. One whose record is damaged has ended.
        """
        path = f"{self.directory}/state.json"
        try:
            found = _read_json(path)
            state = {**_CREATING, **found, "status": found["status"]}
        except FileNotFoundError:
            state = {**_CREATING}
        except (KeyError, TypeError, ValueError):
            ended_s = os.stat(path).st_mtime
            lost = {"status": "exited", "exit_code": KILLED, "error": "its state.json was damaged"}
            state = {**_CREATING, **lost, "started_s": ended_s, "finished_s": ended_s}
        if state["status"] in RUNNING and not os.path.exists(self.run_directory):
            # the machine went down
            state.update(status="exited", pid=0, exit_code=KILLED, finished_s=state["started_s"])
        return state

    def write_state(self, **changes: object) -> None:
        """Replace the state by `changes` over what it was. Only the holder of the lock calls this."""
        _write_json(f"{self.directory}/state.json", {**self.state(), **changes})

    def note_state(self, **changes: object) -> None:
        """The same where nothing may depend on it: on a full disk the state stays as it was."""
        with suppress(OSError):
            self.write_state(**changes)

    def lock(self) -> int:
        """Take the container for this process and its children: the lock's descriptor.

        Raises Refusal if it is taken: the container runs.
        """
        while True:
            try:
                os.makedirs(self.run_directory, mode=0o700, exist_ok=True)
                fd = os.open(f"{self.run_directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except (FileExistsError, FileNotFoundError):
                continue  # its last holder removes the directory between the looks at it
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise Refusal(f"container {self.id[:SHORT_ID]} is running") from None
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)  # its last holder removed it between our two calls

    def wait_until_free(self) -> None:
        """Return when no process of the container is left."""
        self._share_lock(fcntl.LOCK_SH)

    def is_free(self) -> bool:
        """Whether no process of the container is left."""
        try:
            self._share_lock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _share_lock(self, how: int) -> None:
        with suppress(FileNotFoundError):
            fd = os.open(f"{self.run_directory}/lock", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, how)
            finally:
                os.close(fd)

    def release(self) -> None:
        """Take away what exists only while the container runs. Only the holder of the lock calls this."""
        if os.path.exists(f"{self.run_directory}/network.json"):
            from runtime.network import attach

            attach.detach(self.places, self.id)
        try:
            remove_tree(self.run_directory)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # the next lock is there already
                raise

    def remove(self) -> None:
        """Take away all of it. Only the holder of the lock calls this."""
        names = f"{self.places.root}/names"
        for name in names_in(names):
            if named(self.places, name) == self.id:
                os.unlink(f"{names}/{name}")
        remove_tree(self.directory)
        self.release()


def finish(container: Container, exit_code: int, error: str) -> None:
    """Record that the container ended, or remove it: if it was to be, or if its command never ran.

    Only the holder of its lock calls this.
    """
    config = container.config_if_sound()
    wanted = container.exists() and not (config and config.auto_remove) and container.state()["status"] != "creating"
    if not wanted:
        if config is None or config.volumes:
            from runtime.container.named_volumes import NamedVolumes

            NamedVolumes(container.places).remove_nameless(container.id)
        container.remove()
        return
    container.note_state(status="exited", pid=0, exit_code=exit_code, error=error, finished_s=time.time())
    container.release()


def open_process(container: Container) -> int:
    """A pidfd of the container's first process. Raises Refusal: it doesn't run."""
    state = container.state()
    if state["status"] == "running":
        with suppress(ProcessLookupError):
            return open_pidfd(state["pid"], state["pid_ticks"])
    raise Refusal(f"container {container.config().name} is not running", status=1)


def bury(container: Container, error: str) -> None:
    """Do what its monitor would have done, had it lived. Only the holder of its lock calls this."""
    from runtime.container import cgroups

    config = container.config_if_sound()
    cgroups.find(container.id, config.limits if config else {}).remove()
    if container.exists() and container.state()["status"] in ("created", "exited"):
        container.release()
    else:
        finish(container, KILLED, error)


def named(places: Places, name: str) -> str:
    """The id of the container called `name`, or nothing."""
    try:
        return os.readlink(f"{places.root}/names/{name}")
    except FileNotFoundError:
        return ""


def _read_json(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        value = json.load(file)
    if not isinstance(value, dict):
        raise TypeError(path)
    return value


def _write_json(path: str, value: dict[str, Any]) -> None:
    """Replace the file at once: a reader sees the old text or the new one.

    On a full disk it is written over where it is: that takes no room, and an end must be recorded, so that `rm` works.
    """
    text = json.dumps(value, indent=1) + "\n"
    draft = f"{path}.new"
    try:
        with naming(draft), open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(draft, path)
    except OSError as error:
        if error.errno not in FULL or not _overwrite(path, text.encode()):
            raise
        os.unlink(draft)


def _overwrite(path: str, text: bytes) -> bool:
    """Whether a file that is there has the room for another text, and got it; spaces hide the rest of a longer one."""
    with suppress(FileNotFoundError), open(path, "r+b", buffering=0) as file:
        there = os.fstat(file.fileno())
        if len(text) <= there.st_blocks * 512:
            file.write(text.ljust(there.st_size))
            return True
    return False
