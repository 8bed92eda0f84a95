"""The process that serves a mount: how soon it is there, what it holds, whether others wait while it works."""

import os
import time
from pathlib import Path

from bench.stacks import image
from bench.workload import Place, Row, workload
from bench.workloads.metadata import find

_MOUNTS = 5


@workload(image, Row("mount program until it returns", 30, "ms"))
def mount_program(place: Place) -> object:
    """Unmount and mount again, five times; the median of the mounts."""
    times = []
    for _ in range(_MOUNTS):
        place.mount.unmount()
        started = time.perf_counter()
        place.mount.mount()
        times.append(time.perf_counter() - started)
        place.mount.wait_until_served()
    place.note("mount program until it returns", sorted(times)[_MOUNTS // 2])
    return None


@workload(image, Row("memory after the walk", 60, "MB"), Row("memory for each object", 1000, "bytes"),
          Row("memory after all was forgotten", None, "MB"))  # fmt: skip
def memory(place: Place) -> object:
    """Resident memory of the process that serves, before and after find over the image."""
    if (driver := place.mount.driver) is None:
        return len(find(place))
    before = resident_bytes(driver)
    count = find(place).count(b"\n")
    after = resident_bytes(driver)
    place.note("memory after the walk", after)
    place.note("memory for each object", (after - before) / count)
    place.forget()
    place.note("memory after all was forgotten", resident_bytes(driver))
    return None


def resident_bytes(pid: int) -> int:
    """What a process has of its own in memory, and of others' code that it uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
