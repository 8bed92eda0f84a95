"""The options that limit what a container may use, read and checked before anything is made."""

import os
import stat
from typing import Any

from runtime.cli.flags.process import size
from runtime.cli.flags.tables import DEVICE_LIMITS
from runtime.cli.options import Parsed
from runtime.container.devices import parse_device, parse_rule
from runtime.container.limits import DeviceLimit, Limits, option_of, to_json
from runtime.errors import UsageError

_PERIOD_US = 100_000  # of the kernel, and of --cpus
_LEAST_MEMORY = 6 << 20  # as Docker: with less, no command would start

_MODES = ("enabled", "best-effort", "disabled")


def read(options: Parsed) -> dict[str, Any]:
    """What a Config keeps of these options. Raises UsageError, which names the option."""
    found = to_json(parse_limits(options))
    mode = options.one("cgroups", "enabled")
    if mode not in _MODES:
        raise UsageError(f'invalid argument "{mode}" for --cgroups: it is {", ".join(_MODES[:-1])} or {_MODES[-1]}')
    if mode != "enabled":
        found["cgroups"] = mode
    if mode == "disabled" and len(found) > 1:
        raise UsageError(f"--{option_of(next(iter(found)))}: --cgroups=disabled leaves nothing to limit it")
    if options.one("cgroup-parent"):
        found["cgroup_parent"] = _parent(options.one("cgroup-parent"))
    rules = [_rule(text) for text in options.many("device-cgroup-rule")]
    rules += [parse_device(text).rule().text() for text in options.many("device")]
    return found | ({"device_rules": rules} if rules else {})


def _parent(text: str) -> str:
    names = text.strip("/").split("/")
    if {"", ".", ".."} & set(names):
        raise UsageError(f'invalid argument "{text}" for --cgroup-parent: it is a path such as /jobs/batch')
    return "/".join(names)


def _rule(text: str) -> str:
    try:
        return parse_rule(text).text()
    except ValueError:
        message = f'invalid argument "{text}" for --device-cgroup-rule: it is a rule such as "c 10:229 rwm"'
        raise UsageError(message) from None


def parse_limits(options: Parsed, known: Limits = Limits()) -> Limits:  # noqa: B008 - immutable
    """`known` with what `options` ask for. Raises UsageError, which names the option."""
    limits = known._replace(
        memory=_size(options, "memory", known.memory),
        memory_swap=_size(options, "memory-swap", known.memory_swap, unlimited=True),
        memory_reservation=_size(options, "memory-reservation", known.memory_reservation),
        memory_swappiness=_number(options, "memory-swappiness", known.memory_swappiness, 0, 100),
        oom_kill_disable=options.on("oom-kill-disable") or known.oom_kill_disable,
        cpu_shares=_number(options, "cpu-shares", known.cpu_shares, 2, 262_144),
        cpuset_cpus=_list(options, "cpuset-cpus", known.cpuset_cpus),
        cpuset_mems=_list(options, "cpuset-mems", known.cpuset_mems),
        pids_limit=_number(options, "pids-limit", known.pids_limit, -1, 4_194_304),
        blkio_weight=_number(options, "blkio-weight", known.blkio_weight, 10, 1000),
        devices=[_device(option.name, text) for option in DEVICE_LIMITS for text in options.many(option.name)]
        or known.devices,
    )
    if options.one("pids-limit") == "0":
        limits = limits._replace(pids_limit=-1)  # as Docker has it
    return _check(_cpu_time(options, limits))


def _check(limits: Limits) -> Limits:
    """Refuse limits that contradict each other."""
    if limits.memory and limits.memory < _LEAST_MEMORY:
        raise UsageError("--memory: the least is 6m")
    if limits.memory_swap and not limits.memory:
        raise UsageError("--memory-swap: it takes --memory, too")
    if 0 < limits.memory_swap < limits.memory:
        raise UsageError("--memory-swap: it counts memory and swap together, so it can't be less than --memory")
    if limits.memory and limits.memory_reservation > limits.memory:
        raise UsageError("--memory-reservation: it can't be more than --memory")
    if limits.oom_kill_disable and not limits.memory:
        raise UsageError("--oom-kill-disable: it takes --memory, too, or the machine could run out of it")
    return limits


def _cpu_time(options: Parsed, limits: Limits) -> Limits:
    text = options.one("cpus")
    if not text:
        return limits._replace(
            cpu_quota_us=_number(options, "cpu-quota", limits.cpu_quota_us, 1000, 2**44),
            cpu_period_us=_number(options, "cpu-period", limits.cpu_period_us, 1000, 1_000_000),
        )
    if options.one("cpu-quota") or options.one("cpu-period"):
        raise UsageError("--cpus and --cpu-quota or --cpu-period can't both be given")
    there = os.cpu_count() or 1
    plain = text.isascii() and text.replace(".", "", 1).isdigit()
    if not plain or not 0.01 <= float(text) <= there:
        raise UsageError(f'invalid argument "{text}" for --cpus: it is a number from 0.01 to {there}')
    return limits._replace(cpu_quota_us=round(float(text) * _PERIOD_US), cpu_period_us=_PERIOD_US)


def _size(options: Parsed, name: str, known: int, unlimited: bool = False) -> int:
    text = options.one(name)
    if unlimited and text == "-1":
        return -1
    return size(name, text) if text else known


def _number(options: Parsed, name: str, known: int, least: int, most: int) -> int:
    text = options.one(name)
    if not text:
        return known
    return _in_range(name, text, text, least, most)


def _in_range(option: str, argument: str, text: str, least: int, most: int) -> int:
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and least <= int(text) <= most:
        return int(text)
    raise UsageError(f'invalid argument "{argument}" for --{option}: the number is from {least} to {most}')


def _list(options: Parsed, name: str, known: str) -> str:
    text = options.one(name)
    if set(text) <= set("0123456789,-"):
        return text or known
    raise UsageError(f'invalid argument "{text}" for --{name}: it is a list such as 0-2,4')


def _device(option: str, text: str) -> DeviceLimit:
    path, _, value = text.rpartition(":")
    try:
        status = os.stat(path)
    except OSError as error:
        raise UsageError(f'invalid argument "{text}" for --{option}: {path or text}: {error.strerror}') from None
    if not stat.S_ISBLK(status.st_mode):
        raise UsageError(f'invalid argument "{text}" for --{option}: {path} is not a block device')
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if option == "blkio-weight-device":
        return DeviceLimit(option, number, _in_range(option, text, value, 10, 1000))
    if option.endswith("-bps"):
        return DeviceLimit(option, number, size(option, value))
    return DeviceLimit(option, number, _in_range(option, text, value, 1, 2**32))
