"""What a container may use, as data. Zero, nothing or an empty list stands for "not asked for"."""

from typing import Any, NamedTuple


class DeviceLimit(NamedTuple):
    """What the container may do with one block device."""

    option: str
    """blkio-weight-device, device-read-bps, device-write-bps, device-read-iops or device-write-iops."""
    number: str
    """MAJOR:MINOR."""
    value: int
    """Bytes or operations a second; a weight of 10 to 1000."""


class Limits(NamedTuple):
    """All of them; a field is called as its option, but for those of --cpus. Sizes are bytes, times microseconds."""

    memory: int = 0
    memory_swap: int = 0
    """Of memory and swap together; -1 for as much swap as there is."""
    memory_reservation: int = 0
    memory_swappiness: int = -1
    """0 to 100; -1 if it wasn't asked for."""
    oom_kill_disable: bool = False
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    """-1 for none."""
    blkio_weight: int = 0
    devices: list[DeviceLimit] = []


def from_json(limits: dict[str, Any]) -> Limits:
    """What `limits` of a configuration say about limits; the other keys are left out."""
    fields = {name: value for name, value in limits.items() if name in Limits._fields and name != "devices"}
    return Limits(**fields, devices=[DeviceLimit(*device) for device in limits.get("devices", ())])


def to_json(limits: Limits) -> dict[str, Any]:
    """The reverse: what was asked for, and no more."""
    default = Limits()._asdict()
    return {name: value for name, value in limits._asdict().items() if value != default[name]}


def asked(limits: Limits) -> set[str]:
    """The options that `limits` come from."""
    default = Limits()._asdict()
    fields = [field for field, value in limits._asdict().items() if field != "devices" and value != default[field]]
    return {option_of(field) for field in fields} | {device.option for device in limits.devices}


def option_of(field: str) -> str:
    """What the option of a field of Limits is called."""
    return "cpus" if field.endswith("_us") else field.replace("_", "-")
