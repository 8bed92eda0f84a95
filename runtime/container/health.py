"""Whether a container's command does what it is there for: a test that is run in the container again and again.

The monitor runs it as `exec` runs commands. What came of it is in the container's state, under `health`: status
(starting, healthy or unhealthy), streak (failures in a row), log (the last results). Times are nanoseconds, as in the
configurations of images.
"""

import os
import time
from typing import Any, NamedTuple

from runtime.container import control, exec
from runtime.container.config import Config, Maps
from runtime.container.events import emit
from runtime.container.namespaces import Doors
from runtime.container.record import Container
from runtime.container.relay import Loop
from runtime.errors import FAILURE, Refusal

_SECOND_NS = 10**9
DEFAULTS = {
    "Interval": 30 * _SECOND_NS,
    "Timeout": 30 * _SECOND_NS,
    "StartPeriod": 0,
    "StartInterval": 5 * _SECOND_NS,
    "Retries": 3,
}
_MOST_RESULTS = 5
_MOST_OUTPUT_BYTES = 4096
_NO_STATUS = -1


class Way(NamedTuple):
    """How a test gets into the container."""

    doors: Doors
    maps: Maps | None
    """Of its user namespace, if that isn't the machine's."""


class Checks:
    """The tests of one run of a container."""

    def __init__(self, container: Container, config: Config, loop: Loop, way: Way) -> None:
        self._container = container
        self._config = config
        self._loop = loop
        self._way = way
        self._settings: dict[str, Any] = {**DEFAULTS, **{key: value for key, value in config.health.items() if value}}
        self._status = "starting"
        self._streak = 0
        self._results: list[dict[str, Any]] = []
        self._connection = -1
        """To the guard of a test that runs, as a session has one to a monitor."""
        self._output = bytearray()
        self._guards: list[int] = []
        """To be waited for."""
        self._started_ns = self._since_ns = time.monotonic_ns()
        """The latter: when the test that runs began, or the last one ended."""
        self._record()

    def step(self) -> float:
        """Do what is due now: seconds until there is more to do."""
        self._guards = [pid for pid in self._guards if os.waitpid(pid, os.WNOHANG)[0] == 0]
        if self._left_ns() <= 0:
            if self._connection < 0:
                self._begin()
            else:
                seconds = self._settings["Timeout"] / _SECOND_NS
                self._end(_NO_STATUS, f"Health check exceeded timeout ({seconds:g}s)")
        return max(0, self._left_ns()) / _SECOND_NS

    def stop(self) -> None:
        """End a test that runs, and return when nothing of it is left."""
        self._hang_up()
        for pid in self._guards:
            os.waitpid(pid, 0)

    def _hang_up(self) -> None:
        """Listen no longer: if the test still runs, its guard ends it."""
        if self._connection >= 0:
            self._loop.forget(self._connection)
            os.close(self._connection)
            self._connection = -1

    def _left_ns(self) -> int:
        """Until the test that runs must have ended, or until the next."""
        if self._connection >= 0:
            span_ns = self._settings["Timeout"]
        else:
            span_ns = self._settings["StartInterval" if self._is_starting() else "Interval"]
        return int(self._since_ns + span_ns - time.monotonic_ns())

    def _is_starting(self) -> bool:
        """Whether failures don't count yet."""
        in_time = time.monotonic_ns() < self._started_ns + self._settings["StartPeriod"]
        return in_time and self._status == "starting"

    def _begin(self) -> None:
        self._since_ns = time.monotonic_ns()
        if os.path.exists(f"{self._container.run_directory}/paused"):
            return
        kind, *words = self._settings["Test"]
        args = words if kind == "CMD" else ["/bin/sh", "-c", *words]
        self._output.clear()
        try:
            asked = exec.Asked(args, [], "", "", interactive=False, tty=False, privileged=False)
            streams = control.OUTPUT + control.ERROR
            self._connection, guard = exec.begin(self._container, self._config, asked, *self._way, streams)
        except Refusal as error:
            self._end(FAILURE, str(error))
            return
        self._guards.append(guard)
        self._loop.watch(self._connection, self._hear)

    def _hear(self) -> None:
        message = control.hear(self._connection)
        letter, data = message[:1], message[1:]
        if letter in (control.OUTPUT, control.ERROR):
            self._output.extend(data[: _MOST_OUTPUT_BYTES - len(self._output)])
        elif letter == control.FAILED:
            self._output.extend(data.partition(b" ")[2])
        elif letter == control.EXITED:
            self._end(int(data), self._output.decode(errors="replace"))
        elif not message:
            self._end(_NO_STATUS, "its process was killed")

    def _end(self, code: int, output: str) -> None:
        """Take in a result."""
        self._hang_up()
        now_ns, took_ns = time.time_ns(), time.monotonic_ns() - self._since_ns
        self._since_ns += took_ns
        result = {"Start": now_ns - took_ns, "End": now_ns, "ExitCode": code, "Output": output}
        self._results = [*self._results, result][-_MOST_RESULTS:]
        before = self._status
        if code == 0:
            self._status, self._streak = "healthy", 0
        elif not self._is_starting():
            self._streak += 1
            self._status = "unhealthy" if self._streak >= self._settings["Retries"] else before
        self._record()
        if self._status != before:
            emit(self._container, self._config, f"health_status: {self._status}")

    def _record(self) -> None:
        self._container.note_state(
            health={"status": self._status, "streak": self._streak, "log": self._results}
        )
