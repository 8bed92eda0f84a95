"""RUN: a container on the union of the layers so far, whose upper becomes the next one.

The only module of a build that knows containers. The command gets nothing of the caller's: no environment, no
standard input, no terminal. What the runtime mounts for it leaves no trace in the layer.
"""

import os
import signal
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, NoReturn

from runtime.build.errors import BuildError
from runtime.build.trees import Tree
from runtime.build.workspace import Workspace
from runtime.container import launch
from runtime.container.config import Config, Tmpfs, Volume
from runtime.container.kill import end
from runtime.container.record import Container
from runtime.container.store import Store, skeleton
from runtime.errors import FAILURE, Refusal
from runtime.image.make import Layer, make_layer
from runtime.image.store import ImageStore
from runtime.image.tar.pack import pack_changes
from runtime.trees import copy_attributes, have_same_attributes
from unionfs.linux import process
from unionfs.linux.fsops import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

HOSTNAME = "build"
_NETWORKS = {"default": "host", "host": "host", "none": "none"}
_OWN_MOUNTS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_MOST_MESSAGE_BYTES = 1 << 16


class Command(NamedTuple):
    """What RUN runs."""

    args: list[str]
    env: list[str]
    user: str
    workdir: str
    network: str
    volumes: list[Volume]
    tmpfs: list[Tmpfs]


class Runner:
    """Runs commands of one build."""

    def __init__(self, store: ImageStore, workspace: Workspace, newest_ns: int | None) -> None:
        self._store = store
        self._containers = workspace.containers
        self._newest_ns = newest_ns

    def run(self, command: Command, layers: Sequence[str], root: str) -> Layer | None:
        """Run `command` on `layers` (uppermost first): the layer it made; None: it changed nothing.

        `root`: a directory that the root directory is to be like, or nothing.
        Raises BuildError: it failed.
        """
        self._containers.prepare()
        below = [*layers, skeleton(self._containers.places)]
        targets = [volume.target for volume in command.volumes] + [mount.target for mount in command.tmpfs]
        stubs = _stubs(below, [*_OWN_MOUNTS, *targets])
        container, lock = self._containers.reserve()
        self._containers.create(container, "")
        if root and os.geteuid() == 0:  # another user can give nothing away
            copy_attributes(root, container.upper)
        config = _config(container, command, layers)
        try:
            container.write_config(config)
            status = _in_child(self._containers, container, config, lock)
            container.wait_until_free()
            if status:
                raise BuildError(f"the command {' '.join(command.args)!r} returned the non-zero status {status}")
            _remove_stubs(container.upper, stubs)
            if not os.listdir(container.upper) and (not root or have_same_attributes(root, container.upper)):
                return None
            return make_layer(self._store, partial(
                pack_changes, container.upper, container.workdir, below, root=root, newest_ns=self._newest_ns
            ))  # fmt: skip
        finally:
            container.remove()


def _config(container: Container, command: Command, layers: Sequence[str]) -> Config:
    return Config(
        id=container.id, name=container.id, created_s=time.time(), image="", layers=list(layers), nested=False,
        args=command.args, hostname=HOSTNAME, env=command.env, user=command.user, workdir=command.workdir,
        interactive=False, tty=False, auto_remove=False, network=_NETWORKS[command.network], volumes=command.volumes,
        tmpfs=command.tmpfs, volatile=True, log={"driver": "none"},
    )  # fmt: skip


def _in_child(store: Store, container: Container, config: Config, lock: int) -> int:
    """Have a process of its own attached to the container, for it changes what signals do: the exit status.

    Whatever interrupts us ends the container first. Raises BuildError: the command didn't run.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _attach(store, container, config, lock, writing)
    os.close(writing)
    os.close(lock)
    try:
        with os.fdopen(reading, "rb") as pipe:
            message = pipe.read(_MOST_MESSAGE_BYTES).decode(errors="replace")
        _, status = os.waitpid(child, 0)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        end(container)
        raise
    if message:
        raise BuildError(message)
    return os.waitstatus_to_exitcode(status)


def _attach(store: Store, container: Container, config: Config, lock: int, messages: int) -> NoReturn:
    status = FAILURE
    try:
        process.die_with_parent(signal.SIGKILL)  # of what the container does then, the next build finds the end
        status = launch.run(store, container, config, lock, launch.foreground(config))
    except Refusal as error:
        os.write(messages, str(error).encode()[:_MOST_MESSAGE_BYTES])
    except BaseException as error:
        os.write(messages, f"{type(error).__name__}: {error}".encode()[:_MOST_MESSAGE_BYTES])
    finally:
        os._exit(status)


def _stubs(layers: Sequence[str], targets: Sequence[str]) -> list[bytes]:
    """What mounting at `targets` makes because it is missing, the deepest first: not the command's doing."""
    missing = set()
    tree = Tree(layers)
    try:
        for target in targets:
            path = tree.find(os.fsencode(target)).path
            while path and tree.find(path, follow=False).node is None:
                missing.add(path)
                path = path.rpartition(b"/")[0]
    finally:
        tree.close()
    return sorted(missing, key=lambda path: path.count(b"/"), reverse=True)


def _remove_stubs(upper: str, stubs: Sequence[bytes]) -> None:
    """Take away those in which, or in place of which, the command left nothing."""
    root = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in stubs:
            with suppress(OSError):
                _remove_empty(root, path)
    finally:
        os.close(root)


def _remove_empty(root: int, path: bytes) -> None:
    above, _, name = path.rpartition(b"/")
    directory = openat2(root, above or b".", os.O_PATH | os.O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    try:
        st = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(st.st_mode):
            os.rmdir(name, dir_fd=directory)
        elif stat.S_ISREG(st.st_mode) and not st.st_size:
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)
