"""The kernel's record of what happens, by its tracepoints, in a buffer of our own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRACEFS = Path("/sys/kernel/tracing")
_BUFFER_KIB = 65_536


class Tracer:
    """Records `events`, as "fuse/fuse_request_send", between `start` and `stop`."""

    def __init__(self, instance: Path, events: tuple[str, ...]) -> None:
        self._instance = instance
        self._switches = [instance / "events" / event / "enable" for event in events]

    def start(self) -> None:
        """Forget what was recorded, and record."""
        (self._instance / "trace").write_text("")
        for switch in self._switches:
            switch.write_text("1")

    def stop(self) -> Iterator[str]:
        """Record no more; the lines, oldest first."""
        for switch in self._switches:
            switch.write_text("0")
        with open(self._instance / "trace", errors="replace") as trace:
            yield from trace


@contextmanager
def tracer(name: str, *events: str) -> Iterator[Tracer | None]:
    """A tracer of these events, under a name that nobody else has; None where the kernel can't."""
    if not (_TRACEFS / "instances").is_dir():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", _TRACEFS], capture_output=True, check=False)
    if not all((_TRACEFS / "events" / event).is_dir() for event in events):
        yield None
        return
    instance = _TRACEFS / "instances" / name
    instance.mkdir()
    try:
        (instance / "buffer_size_kb").write_text(str(_BUFFER_KIB))
        yield Tracer(instance, events)
    finally:
        instance.rmdir()
