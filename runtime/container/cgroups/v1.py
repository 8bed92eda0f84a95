"""Control groups of version 1 (Documentation/admin-guide/cgroup-v1): one directory for each hierarchy."""

import os
import time
from collections.abc import Iterable

from runtime.container.cgroups.setting import SWAP_FACTOR, Setting, of_both, read, read_keys, write
from runtime.container.cgroups.usage import Usage
from runtime.container.devices import DeviceRule
from runtime.container.limits import DeviceLimit, Limits

DOOR = "tasks"
"""A thread that writes 0 there is in the group. Unlike cgroup.procs this makes the kernel wait for nobody: 15 us."""

_DEVICE_FILES = {
    "blkio-weight-device": "blkio.bfq.weight_device",
    "device-read-bps": "blkio.throttle.read_bps_device",
    "device-write-bps": "blkio.throttle.write_bps_device",
    "device-read-iops": "blkio.throttle.read_iops_device",
    "device-write-iops": "blkio.throttle.write_iops_device",
}
_FREEZING_WITHIN_S = 10
_STEP_S = 0.001


def settings(limits: Limits) -> list[Setting]:
    """What to write for `limits`."""
    found = []
    if limits.memory:
        found.append(Setting("memory", "memory", "memory.limit_in_bytes", str(limits.memory)))
        both = limits.memory_swap or limits.memory * SWAP_FACTOR
        unasked = not limits.memory_swap
        found.append(Setting("memory-swap", "memory", "memory.memsw.limit_in_bytes", str(both), unasked))
    if limits.memory_reservation:
        found.append(
            Setting("memory-reservation", "memory", "memory.soft_limit_in_bytes", str(limits.memory_reservation))
        )
    if limits.memory_swappiness >= 0:
        found.append(Setting("memory-swappiness", "memory", "memory.swappiness", str(limits.memory_swappiness)))
    if limits.oom_kill_disable:
        found.append(Setting("oom-kill-disable", "memory", "memory.oom_control", "1"))
    if limits.cpu_period_us:
        found.append(Setting("cpus", "cpu", "cpu.cfs_period_us", str(limits.cpu_period_us)))
    if limits.cpu_quota_us:
        found.append(Setting("cpus", "cpu", "cpu.cfs_quota_us", str(limits.cpu_quota_us)))
    if limits.cpu_shares:
        found.append(Setting("cpu-shares", "cpu", "cpu.shares", str(limits.cpu_shares)))
    found += of_both(limits)
    if limits.blkio_weight:
        found.append(Setting("blkio-weight", "blkio", "blkio.bfq.weight", str(limits.blkio_weight)))
    return found + [_of_device(device) for device in limits.devices]


def _of_device(device: DeviceLimit) -> Setting:
    return Setting(device.option, "blkio", _DEVICE_FILES[device.option], f"{device.number} {device.value}")


def make(base: str, path: str, controllers: Iterable[str]) -> None:
    """Make the group `path`, with those between it and `base`. Raises OSError: EACCES, EROFS."""
    above = os.path.dirname(path)
    if above != base and not os.path.isdir(path):
        make(base, above, controllers)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return
    if "cpuset" in controllers:  # a new group has neither processors nor memory, and takes no process until it does
        for file in ("cpuset.cpus", "cpuset.mems"):
            write(f"{path}/{file}", read(f"{above}/{file}"))


def allow_devices(path: str, rules: list[DeviceRule]) -> None:
    """Have the group's processes make and open the devices of `rules`, and no other."""
    write(f"{path}/devices.deny", "a")
    for rule in rules:
        write(f"{path}/devices.allow", rule.text())


def freeze(path: str, frozen: bool) -> None:
    """Stop all processes of the group, or have them go on; returns when they have. Raises TimeoutError."""
    wanted = "FROZEN" if frozen else "THAWED"
    deadline = time.monotonic() + _FREEZING_WITHIN_S
    write(f"{path}/freezer.state", wanted)
    while read(f"{path}/freezer.state").strip() != wanted:  # the kernel looks again whenever it is read
        if time.monotonic() > deadline:
            write(f"{path}/freezer.state", "THAWED")
            raise TimeoutError
        time.sleep(_STEP_S)


def is_frozen(path: str) -> bool:
    return read(f"{path}/freezer.state").strip() != "THAWED"


def oom_kills(path: str) -> int:
    """How many of the group's processes were killed since it ran out of memory."""
    return read_keys(f"{path}/memory.oom_control").get("oom_kill", 0)


def usage(path: str, controllers: Iterable[str]) -> Usage:
    """What of this hierarchy the group has used; the rest is zero."""
    found = Usage()
    if "cpuacct" in controllers:
        found = found._replace(cpu_ns=int(read(f"{path}/cpuacct.usage")))
    if "memory" in controllers:
        cache = read_keys(f"{path}/memory.stat").get("total_inactive_file", 0)
        used = int(read(f"{path}/memory.usage_in_bytes"))
        found = found._replace(memory=max(0, used - cache), memory_limit=int(read(f"{path}/memory.limit_in_bytes")))
    if "pids" in controllers:
        found = found._replace(pids=int(read(f"{path}/pids.current")))
    if "blkio" in controllers:
        lines = [line.split() for line in read(f"{path}/blkio.throttle.io_service_bytes_recursive").splitlines()]
        amounts = {kind: sum(int(line[2]) for line in lines if line[1:2] == [kind]) for kind in ("Read", "Write")}
        found = found._replace(read_bytes=amounts["Read"], written_bytes=amounts["Write"])
    return found
