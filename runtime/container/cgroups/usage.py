"""What the processes of a container have used, together."""

from typing import NamedTuple


class Usage(NamedTuple):
    """Amounts; zero stands for "none" as well as for "not counted here"."""

    cpu_ns: int = 0
    memory: int = 0
    """Bytes, without cached files that nobody has used for a while: these go as soon as others need the room."""
    memory_limit: int = 0
    pids: int = 0
    """Processes and threads, now."""
    read_bytes: int = 0
    written_bytes: int = 0
    """From and to block devices."""

    def joined(self, other: "Usage") -> "Usage":
        """With what another hierarchy counts; what both count is the same."""
        return Usage(*map(max, self, other))
