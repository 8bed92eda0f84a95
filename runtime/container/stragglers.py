"""What a container leaves running in a pid namespace that isn't its own, where no control group holds it together."""

import os
from contextlib import suppress

from unionfs.linux import process

_MOST_ROUNDS = 100
"""A process that forks all the time may be missed by one look, and by the next."""


def end(mounts: int) -> None:
    """Kill all that are in a mount namespace, which is given by a descriptor, and wait until they are dead."""
    for _ in range(_MOST_ROUNDS):
        if not (found := _inside(mounts)):
            return
        process.kill_all(found)
        process.close_at_end(found)


def _inside(mounts: int) -> list[int]:
    """Pidfds of the processes there. One that is ending is nowhere."""
    namespace = os.fstat(mounts)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it ended, or is none of ours
            if os.path.samestat(os.stat(f"/proc/{name}/ns/mnt"), namespace):
                fd = os.pidfd_open(int(name))
                if os.path.samestat(os.stat(f"/proc/{name}/ns/mnt"), namespace):  # still, and so it is what was opened
                    found.append(fd)
                else:
                    os.close(fd)
    return found
