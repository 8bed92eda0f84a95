"""Limits as users write them, and as each version of control groups takes them."""

import os

import pytest

from runtime.cli.flags import limits as flags
from runtime.cli.flags import tables
from runtime.cli.options import parse
from runtime.container import limits
from runtime.container.cgroups import v1, v2
from runtime.errors import UsageError


def read(*arguments: str) -> dict[str, object]:
    return flags.read(parse(arguments, tables.LIMITS))


def written(version, *arguments: str) -> dict[str, str]:
    """File to text, of what was asked for."""
    asked = limits.from_json(read(*arguments))
    return {setting.file: setting.text for setting in version.settings(asked) if not setting.optional}


def test_nothing_asked_for_is_nothing_kept() -> None:
    assert read() == {}


@pytest.mark.parametrize(
    ("text", "size"),
    [("6291456", 6291456), ("512m", 512 << 20), ("512M", 512 << 20), ("512mb", 512 << 20), ("1.5g", 3 << 29)]
    + [("2G", 2 << 30), ("7000k", 7000 << 10), ("7000000b", 7000000), ("1t", 1 << 40)],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert read("-m", text) == {"memory": size}


@pytest.mark.parametrize("text", ["m", "-1", "1x", "1mm", "1 g", "1e9", "0x10", "١g", "5m"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        read(f"--memory={text}")


def test_cpus_are_a_share_of_each_period() -> None:
    assert written(v1, "--cpus", "0.5") == {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}
    assert written(v2, "--cpus", "0.5") == {"cpu.max": "50000 100000"}


def test_a_quota_alone_counts_in_the_usual_period() -> None:
    assert written(v1, "--cpu-quota", "25000") == {"cpu.cfs_quota_us": "25000"}
    assert written(v2, "--cpu-quota", "25000") == {"cpu.max": "25000 100000"}


def test_cpus_and_a_quota_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="--cpus and --cpu-quota"):
        read("--cpus", "1", "--cpu-quota", "1000")


@pytest.mark.parametrize("text", ["0", "0.001", "-1", "nan", "inf", str((os.cpu_count() or 1) + 1), "two"])
def test_more_processors_than_there_are_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--cpus: it is a number from 0.01 to {os.cpu_count()}"):
        read("--cpus", text)


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000)])
def test_shares_become_a_weight_with_the_same_default(shares: int, weight: int) -> None:
    assert written(v1, "--cpu-shares", str(shares)) == {"cpu.shares": str(shares)}
    assert written(v2, "--cpu-shares", str(shares)) == {"cpu.weight": str(weight)}


def test_swap_is_what_is_left_beside_the_memory() -> None:
    asked = ("--memory", "64m", "--memory-swap", "96m")
    assert written(v1, *asked)["memory.memsw.limit_in_bytes"] == str(96 << 20)
    assert written(v2, *asked)["memory.swap.max"] == str(32 << 20)


def test_no_limit_of_swap() -> None:
    asked = ("--memory", "64m", "--memory-swap", "-1")
    assert written(v1, *asked)["memory.memsw.limit_in_bytes"] == "-1"
    assert written(v2, *asked)["memory.swap.max"] == "max"


def test_unless_told_there_is_as_much_swap_as_memory() -> None:
    (swap,) = [one for one in v2.settings(limits.Limits(memory=64 << 20)) if one.option == "memory-swap"]
    assert (swap.file, swap.text, swap.optional) == ("memory.swap.max", str(64 << 20), True)


@pytest.mark.parametrize(("text", "most"), [("7", "7"), ("0", "max"), ("-1", "max")])
def test_zero_processes_are_no_limit(text: str, most: str) -> None:
    assert written(v1, "--pids-limit", text) == written(v2, "--pids-limit", text) == {"pids.max": most}


def test_unless_told_a_fork_bomb_ends_at_2048() -> None:
    (pids,) = [one for one in v1.settings(limits.Limits()) if one.file == "pids.max"]
    assert (pids.text, pids.optional) == ("2048", True)


@pytest.mark.parametrize(("weight", "there"), [(10, 1), (500, 4950), (1000, 10000)])
def test_weights_of_devices_have_another_scale_in_version_2(weight: int, there: int) -> None:
    assert written(v1, "--blkio-weight", str(weight)) == {"blkio.bfq.weight": str(weight)}
    assert written(v2, "--blkio-weight", str(weight)) == {"io.weight": f"default {there}"}


def test_limits_of_one_device() -> None:
    asked = limits.Limits(devices=[limits.DeviceLimit("device-read-bps", "8:0", 1 << 20)])
    assert v1.settings(asked)[-1][1:4] == ("blkio", "blkio.throttle.read_bps_device", "8:0 1048576")
    assert v2.settings(asked)[-1][1:4] == ("io", "io.max", "8:0 rbps=1048576")


def test_a_device_must_be_one() -> None:
    with pytest.raises(UsageError, match="--device-read-bps: /dev/null is not a block device"):
        read("--device-read-bps", "/dev/null:1m")
    with pytest.raises(UsageError, match="--device-write-iops: /dev/absent: No such file"):
        read("--device-write-iops", "/dev/absent:10")


def test_what_version_2_lacks_it_does_not_write() -> None:
    assert written(v2, "--memory", "64m", "--oom-kill-disable", "--memory-swappiness", "10") == {
        "memory.max": str(64 << 20)
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--memory", "5m"), "--memory: the least is 6m"),
        (("--memory-swap", "64m"), "--memory-swap: it takes --memory"),
        (("--memory", "64m", "--memory-swap", "32m"), "can't be less than --memory"),
        (("--memory", "64m", "--memory-reservation", "65m"), "--memory-reservation"),
        (("--oom-kill-disable",), "--oom-kill-disable: it takes --memory"),
        (("--cpu-shares", "1"), "--cpu-shares: the number is from 2"),
        (("--cpuset-cpus", "0;1"), "--cpuset-cpus"),
        (("--blkio-weight", "1001"), "--blkio-weight"),
        (("--pids-limit", "many"), "--pids-limit"),
        (("--memory-swappiness", "101"), "--memory-swappiness"),
        (("--cgroups", "off"), "--cgroups: it is enabled, best-effort or disabled"),
        (("--cgroup-parent", "../up"), "--cgroup-parent"),
        (("--device-cgroup-rule", "c 1:2"), "--device-cgroup-rule"),
        (("--device-cgroup-rule", "x 1:2 r"), "--device-cgroup-rule"),
        (("--memory", "64m", "--cgroups", "disabled"), "--memory: --cgroups=disabled leaves nothing"),
    ],
)
def test_nonsense_is_refused_by_name(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(*arguments)
    assert complaint in str(refused.value)


def test_what_is_kept_says_what_was_asked() -> None:
    asked = read("-m", "64m", "--cpus", "1", "--cgroup-parent", "/jobs/batch/", "--device-cgroup-rule", "c 10:* r")
    assert limits.asked(limits.from_json(asked)) == {"memory", "cpus"}
    assert (asked["cgroup_parent"], asked["device_rules"]) == ("jobs/batch", ["c 10:* r"])
