"""What happened to containers, a JSON object a line in ROOT/events.log: appended, never changed.

    {"time_ns": …, "type": "container", "action": "start", "id": …, "attributes": {"image": …, "name": …}}

A file that has grown to 1 MiB becomes events.log.1, in place of the one before it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runtime.places import Places

if TYPE_CHECKING:
    from runtime.container.config import Config
    from runtime.container.record import Container

_MOST_BYTES = 1 << 20


def emit(container: "Container", config: "Config", action: str, **attributes: str) -> None:
    """Note that `action` (start, die, kill…) was done to the container. What can't be written is left out."""
    import json

    about = {"image": config.image, "name": config.name, **config.labels, **attributes}
    event = {
        "time_ns": time.time_ns(), "type": "container", "action": action, "id": container.id, "attributes": about
    }  # fmt: skip
    path = log_of(container.places)
    with suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, json.dumps(event).encode() + b"\n")  # one write: lines of several processes don't mix
            if os.fstat(fd).st_size > _MOST_BYTES:
                os.rename(path, f"{path}.1")
        finally:
            os.close(fd)


def log_of(places: Places) -> str:
    """The file."""
    return f"{places.root}/events.log"


def read(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The events of some lines."""
    import json

    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)
