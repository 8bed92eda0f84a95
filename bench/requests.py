"""Requests that the kernel sends to a FUSE filesystem, counted by name through its own tracepoint (Linux 6.10).

The events of one mount are told from others' by the device number of the mount. Costs each request a microsecond or
so: not for runs that are timed.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.tracing import Tracer, tracer

_EVENT = re.compile(r"connection (\d+) req \d+ opcode \d+ \(FUSE_(\w+)\)")


class RequestCounter:
    """Counts between `start` and `stop` for the mount at a path."""

    def __init__(self, events: Tracer) -> None:
        self._events = events
        self.start = events.start

    def stop(self, mounted: Path) -> Counter[str]:
        """Requests since `start` to the filesystem at `mounted`, by opcode without FUSE_."""
        device = str(os.lstat(mounted).st_dev)
        found = (_EVENT.search(line) for line in self._events.stop())
        return Counter(match[2] for match in found if match and match[1] == device)


@contextmanager
def request_counter() -> Iterator[RequestCounter | None]:
    """A counter; None where the kernel can't."""
    with tracer(f"pyunion-bench-{os.getpid()}", "fuse/fuse_request_send") as events:
        yield RequestCounter(events) if events else None
