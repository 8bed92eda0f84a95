"""Control groups of version 2 (Documentation/admin-guide/cgroup-v2.rst): one directory for everything."""

import math
import os
import select
from collections.abc import Iterable

from runtime.container.cgroups.device_program import program
from runtime.container.cgroups.setting import SWAP_FACTOR, Setting, number_or_max, of_both, read, read_keys, write
from runtime.container.cgroups.usage import Usage
from runtime.container.devices import DeviceRule
from runtime.container.limits import DeviceLimit, Limits

DOOR = "cgroup.procs"
"""A process that writes 0 there is in the group."""

_PERIOD_US = 100_000
_DEVICE_KEYS = {
    "device-read-bps": "rbps",
    "device-write-bps": "wbps",
    "device-read-iops": "riops",
    "device-write-iops": "wiops",
}
_FREEZING_WITHIN_MS = 10_000


def settings(limits: Limits) -> list[Setting]:
    """What to write for `limits`; for those that version 2 doesn't have, nothing."""
    found = []
    if limits.memory:
        found.append(Setting("memory", "memory", "memory.max", str(limits.memory)))
        both = limits.memory_swap or limits.memory * SWAP_FACTOR
        swap = number_or_max(both if both < 0 else both - limits.memory)
        found.append(Setting("memory-swap", "memory", "memory.swap.max", swap, not limits.memory_swap))
    if limits.memory_reservation:
        found.append(Setting("memory-reservation", "memory", "memory.low", str(limits.memory_reservation)))
    if limits.cpu_quota_us or limits.cpu_period_us:
        quota = number_or_max(limits.cpu_quota_us or -1)
        found.append(Setting("cpus", "cpu", "cpu.max", f"{quota} {limits.cpu_period_us or _PERIOD_US}"))
    if limits.cpu_shares:
        found.append(Setting("cpu-shares", "cpu", "cpu.weight", str(weight_of_shares(limits.cpu_shares))))
    found += of_both(limits)
    if limits.blkio_weight:
        found.append(Setting("blkio-weight", "io", "io.weight", f"default {_io_weight(limits.blkio_weight)}"))
    return found + [_of_device(device) for device in limits.devices]


def _of_device(device: DeviceLimit) -> Setting:
    if device.option == "blkio-weight-device":
        return Setting(device.option, "io", "io.weight", f"{device.number} {_io_weight(device.value)}")
    return Setting(device.option, "io", "io.max", f"{device.number} {_DEVICE_KEYS[device.option]}={device.value}")


def weight_of_shares(shares: int) -> int:
    """2 to 262144 shares as a weight of 1 to 10000, such that 1024 become 100: what everybody has.

    The curve crun and runc agreed on in 2025; the older straight line made 39 of 1024.
    """
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def _io_weight(weight: int) -> int:
    """10 to 1000 as 1 to 10000, as runc and crun have it."""
    return 1 + (weight - 10) * 9999 // 990


def make(base: str, path: str, controllers: Iterable[str]) -> None:
    """Make the group `path`, with those between it and `base`, and hand `controllers` down to it.

    Raises OSError: EACCES, EROFS, EBUSY (a group on the way has processes of its own).
    """
    above = os.path.dirname(path)
    if above != base:
        make(base, above, controllers)
    missing = set(controllers) - set(read(f"{above}/cgroup.subtree_control").split())
    if missing:
        write(f"{above}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return


def allow_devices(path: str, rules: list[DeviceRule]) -> None:
    """Have the group's processes make and open the devices of `rules`, and no other. Raises OSError: EPERM."""
    from unionfs.linux import bpf

    group = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bpf.attach_device_program(group, program(rules))
    finally:
        os.close(group)


def freeze(path: str, frozen: bool) -> None:
    """Stop all processes of the group, or have them go on; returns when they have. Raises TimeoutError."""
    events = os.open(f"{path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        write(f"{path}/cgroup.freeze", str(int(frozen)))
        while read_keys(f"{path}/cgroup.events")["frozen"] != frozen:
            if not poll.poll(_FREEZING_WITHIN_MS):
                write(f"{path}/cgroup.freeze", "0")
                raise TimeoutError
            os.pread(events, 1, 0)  # else the same event is told for ever
    finally:
        os.close(events)


def is_frozen(path: str) -> bool:
    return read(f"{path}/cgroup.freeze").strip() == "1"


def oom_kills(path: str) -> int:
    """How many of the group's processes were killed since it ran out of memory."""
    return read_keys(f"{path}/memory.events").get("oom_kill", 0)


def usage(path: str, controllers: Iterable[str]) -> Usage:
    """What of this hierarchy the group has used; the rest is zero."""
    found = Usage(cpu_ns=read_keys(f"{path}/cpu.stat").get("usage_usec", 0) * 1000)
    if "memory" in controllers:
        cache = read_keys(f"{path}/memory.stat").get("inactive_file", 0)
        most = read(f"{path}/memory.max").strip()
        used = int(read(f"{path}/memory.current"))
        found = found._replace(memory=max(0, used - cache), memory_limit=0 if most == "max" else int(most))
    if "pids" in controllers:
        found = found._replace(pids=int(read(f"{path}/pids.current")))
    if "io" in controllers:
        pairs = [pair.partition("=") for pair in read(f"{path}/io.stat").split() if "=" in pair]
        amounts = {name: sum(int(value) for key, _, value in pairs if key == name) for name in ("rbytes", "wbytes")}
        found = found._replace(read_bytes=amounts["rbytes"], written_bytes=amounts["wbytes"])
    return found
