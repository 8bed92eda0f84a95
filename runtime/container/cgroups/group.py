"""The group of one container: one directory in each hierarchy, used as a whole."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import NamedTuple

from runtime.container.cgroups import v1, v2
from runtime.container.cgroups.setting import Setting, read, write
from runtime.container.cgroups.usage import Usage
from runtime.container.limits import Limits, asked
from runtime.errors import Refusal
from unionfs.linux import process

_MOST_ROUNDS = 100  # of killing what forks faster than it is killed; the first freezes it, so the second is the last
_WAY_OUT = "--cgroups=best-effort runs the container without the limit"


class Part(NamedTuple):
    """What the container has in one hierarchy."""

    version: int
    controllers: frozenset[str]
    path: str

    @property
    def rules(self) -> ModuleType:
        """Who knows the files of this version."""
        return v1 if self.version == 1 else v2


class Group:
    """A container's group. `own_parent`: the directory above is ours as well, and goes with the last of its groups."""

    def __init__(self, parts: list[Part], own_parent: bool) -> None:
        self.parts = parts
        self._own_parent = own_parent

    def enter(self) -> None:
        """Put this process, which must have one thread, into the group; its children will be there, too.

        Where the kernel grants a group no time for real-time scheduling (CONFIG_RT_GROUP_SCHED), the process loses it.
        """
        for part in self.parts:
            door = f"{part.path}/{part.rules.DOOR}"
            try:
                write(door, "0")
            except OSError as error:
                if error.errno != errno.EINVAL or os.sched_getscheduler(0) == os.SCHED_OTHER:
                    raise
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
                write(door, "0")

    def apply(self, limits: Limits, best_effort: bool) -> None:
        """Set the limits. Raises Refusal, which names the one that can't be set; best effort leaves it out."""
        wanted = [
            (f"{part.path}/{setting.file}", setting)
            for part in self.parts
            for setting in part.rules.settings(limits)
            if setting.controller in part.controllers
        ]
        missing = asked(limits) - {setting.option for _, setting in wanted}
        if missing and not best_effort:
            raise Refusal(f"--{min(missing)}: no control group of this machine can limit it for us ({_WAY_OUT})")
        # what is refused may be right once the others are set: memory is never more than memory and swap
        _set(_set(wanted, best_effort, again=True), best_effort, again=False)

    def update(self, limits: Limits) -> None:
        """Set the limits of a container that runs. Raises Refusal, which names the one that can't be set."""
        self.apply(limits, best_effort=False)

    def freeze(self) -> None:
        """Stop all processes; returns when they have. Raises Refusal."""
        self._freeze(True)

    def thaw(self) -> None:
        """Have all processes go on; if they have ended meanwhile, that is well, too."""
        try:
            self._freeze(False)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def _freeze(self, frozen: bool) -> None:
        part = self._part("freezer")
        if part is None:
            raise Refusal("it can't be paused: it has no control group that could be frozen", status=1)
        try:
            part.rules.freeze(part.path, frozen)
        except TimeoutError:
            raise Refusal("it can't be paused: one of its processes doesn't stop", status=1) from None

    def is_frozen(self) -> bool:
        part = self._part("freezer")
        with suppress(FileNotFoundError):  # it has been removed
            return part is not None and bool(part.rules.is_frozen(part.path))
        return False

    def oom_killed(self) -> bool:
        """Whether a process of it was killed since it ran out of memory."""
        part = self._part("memory")
        return part is not None and part.rules.oom_kills(part.path) > 0

    def stats(self) -> dict[str, int]:
        """The fields of Usage."""
        found = Usage()
        for part in self.parts:
            found = found.joined(part.rules.usage(part.path, part.controllers))
        return found._asdict()

    def processes(self) -> list[int]:
        """Pids of all processes, as this process sees them."""
        lines = [read(f"{path}/cgroup.procs").split() for part in self.parts[:1] for path in _below(part.path)]
        return [int(pid) for found in lines for pid in found if pid != "0"]

    def remove(self) -> None:
        """End what runs in it, and take it away. One that is gone is no error."""
        for part in self.parts:
            self._remove(part.path)
            if self._own_parent:
                with suppress(OSError):  # others are in it
                    os.rmdir(os.path.dirname(part.path))
        self.parts = []

    def _remove(self, path: str) -> None:
        for _ in range(_MOST_ROUNDS):
            try:
                for directory in reversed(_below(path)):
                    os.rmdir(directory)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                self._kill()
            else:
                return

    def _kill(self) -> None:
        """Kill all processes, and wait until they are dead."""
        handles = [fd for pid in self.processes() if pid != os.getpid() for fd in _pidfd(pid)]
        process.kill_all(handles)
        if self.is_frozen():
            self.thaw()  # a frozen process doesn't die
        process.close_at_end(handles)

    def _part(self, controller: str) -> Part | None:
        """The one with `controller`; version 2 has the freezer in itself."""
        for part in self.parts:
            if controller in part.controllers or (controller == "freezer" and part.version == 2):
                return part
        return None


def _below(path: str) -> list[str]:
    """`path` and all groups in it, those above first."""
    return [directory for directory, _, _ in os.walk(path)] or [path]


def _pidfd(pid: int) -> Iterator[int]:
    with suppress(ProcessLookupError):
        yield os.pidfd_open(pid)


def _set(settings: list[tuple[str, Setting]], best_effort: bool, again: bool) -> list[tuple[str, Setting]]:
    """Write each to its path; with `again`, return those that should be tried once more. Raises Refusal."""
    refused = []
    for path, setting in settings:
        try:
            write(path, setting.text)
        except OSError as error:
            if again and error.errno == errno.EINVAL:
                refused.append((path, setting))
            elif not best_effort and not setting.optional:
                raise Refusal(_why_not(setting, error)) from None
    return refused


def _why_not(setting: Setting, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"--{setting.option}: the kernel of this machine has no {setting.file} ({_WAY_OUT})"
    return f"--{setting.option}: {setting.file} doesn't take {setting.text!r}: {error.strerror}"
