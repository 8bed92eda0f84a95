"""Requests that the kernel sends to a FUSE filesystem, counted by name through its own tracepoint (Linux 6.10).

The events of one mount are told from others' by the device number of the mount. Costs each request a microsecond or
so: not for runs that are timed.
"""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

_TRACEFS = Path("/sys/kernel/tracing")
_EVENT = re.compile(r"connection (\d+) req \d+ opcode \d+ \(FUSE_(\w+)\)")
_BUFFER_KIB = 65_536


class RequestCounter:
    """Counts between `start` and `stop` for the mount at a path; where the kernel can't, `works` is False."""

    def __init__(self) -> None:
        if not (_TRACEFS / "instances").is_dir():
            subprocess.run(["mount", "-t", "tracefs", "tracefs", _TRACEFS], capture_output=True, check=False)
        self._instance = _TRACEFS / f"instances/pyunion-bench-{os.getpid()}"
        self._event = self._instance / "events/fuse/fuse_request_send/enable"
        self.works = (_TRACEFS / "events/fuse/fuse_request_send").is_dir()
        if self.works:
            self._instance.mkdir()
            (self._instance / "buffer_size_kb").write_text(str(_BUFFER_KIB))

    def start(self) -> None:
        """Forget what was counted."""
        (self._instance / "trace").write_text("")
        self._event.write_text("1")

    def stop(self, mounted: Path) -> Counter[str]:
        """Requests since `start` to the filesystem at `mounted`, by opcode without FUSE_."""
        self._event.write_text("0")
        device = str(os.lstat(mounted).st_dev)
        with open(self._instance / "trace", errors="replace") as trace:
            found = (_EVENT.search(line) for line in trace)
            return Counter(match[2] for match in found if match and match[1] == device)

    def close(self) -> None:
        """Give the buffer back."""
        if self.works:
            self._instance.rmdir()
