"""The process that serves a mount: how soon it is there, what it holds, whether others wait while it works."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.stacks import image, large
from bench.workload import Place, Row, drop_caches, workload
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
    driver = place.mount.driver
    before = resident_bytes(driver) if driver else 0
    count = find(place).count(b"\n")
    if driver is None:
        return count
    after = resident_bytes(driver)
    place.note("memory after the walk", after)
    place.note("memory for each object", (after - before) / count)
    place.forget()
    place.note("memory after all was forgotten", resident_bytes(driver))
    return count


@workload(
    large,
    Row("lookups beside copy-up of 512 MB: 99 of 100 within", None, "ms"),
    Row("lookups beside copy-up of 512 MB: the slowest", None, "ms"),
    Row("lookups beside cold reads of 512 MB: 99 of 100 within", None, "ms"),
    Row("lookups beside cold reads of 512 MB: the slowest", None, "ms"),
    writes=True,
)
def latency(place: Place) -> object:
    """How long each lookup of a name takes that was never asked for, while another process works on a large file."""
    os.sync()
    drop_caches()
    _note_latencies(place, "cold reads", _lookups_beside(place, _read))
    os.sync()
    _note_latencies(place, "copy-up", _lookups_beside(place, _copy_up))
    return None


def _note_latencies(place: Place, beside: str, times: list[float]) -> None:
    times.sort()
    place.note(f"lookups beside {beside} of 512 MB: 99 of 100 within", times[len(times) * 99 // 100])
    place.note(f"lookups beside {beside} of 512 MB: the slowest", times[-1])


def _lookups_beside(place: Place, work: Callable[[Path], None]) -> list[float]:
    """Seconds of each lookup while a child works."""
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(OSError):
            work(place.merged / "large")
            status = 0
        os._exit(status)
    times: list[float] = []
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        started = time.perf_counter()
        os.access(place.merged / f"absent-{child}-{len(times)}", os.F_OK)
        times.append(time.perf_counter() - started)
    assert ended[1] == 0
    return times


def _read(path: Path) -> None:
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _copy_up(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR))


def resident_bytes(pid: int) -> int:
    """What a process has of its own in memory, and of others' code that it uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
