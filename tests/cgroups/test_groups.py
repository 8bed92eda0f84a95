"""The control groups of this machine, whatever version they are: made, used by real processes, and taken away."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.container import cgroups
from runtime.container.cgroups import hierarchies
from runtime.container.cgroups.group import Group
from runtime.errors import Refusal
from tests.support import needs

pytestmark = needs.root

CONTROLLERS = frozenset[str]().union(*(hierarchy.controllers for hierarchy in hierarchies.find()))


VERSION_2 = any(hierarchy.version == 2 for hierarchy in hierarchies.find())
"""Lists of devices are part of version 2 itself."""


def need(*controllers: str) -> None:
    """Need controllers that processes of this machine can be put under."""
    missing = set(controllers) - CONTROLLERS - ({"devices"} if VERSION_2 else set())
    if missing:
        needs.missing(f"no control groups with {', '.join(missing)}")


@pytest.fixture
def identity() -> Iterator[str]:
    name = os.urandom(32).hex()
    yield name
    assert groups_called(name) == []


def groups_called(name: str) -> list[str]:
    return [str(path) for hierarchy in hierarchies.find() for path in Path(hierarchy.base).rglob(f"*{name}*")]


@pytest.fixture
def make(identity: str) -> Iterator[Callable[..., Group]]:
    made: list[Group] = []

    def create(**limits: object) -> Group:
        made.append(cgroups.create(identity, limits))
        return made[-1]

    yield create
    for group in made:
        group.remove()


def run_in(group: Group, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of Python in `group`."""
    command = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(command, preexec_fn=group.enter, capture_output=True, text=True, check=False)


_WAITS = "import signal; print(flush=True); signal.pause()"


def start_in(group: Group, program: str = _WAITS) -> "subprocess.Popen[str]":
    """The same in the background; returns when it has printed a line."""
    command = [sys.executable, "-I", "-S", "-c", program]
    process = subprocess.Popen(command, preexec_fn=group.enter, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_too_much_memory_ends_a_process_and_that_is_known(make: Callable[..., Group]) -> None:
    need("memory")
    group = make(memory=32 << 20, memory_swap=32 << 20)
    assert not group.oom_killed()
    assert run_in(group, "bytearray(8 << 20)").returncode == 0
    assert not group.oom_killed()
    assert run_in(group, "bytearray(64 << 20)").returncode == -signal.SIGKILL
    assert group.oom_killed()


def test_no_more_processes_than_allowed(make: Callable[..., Group]) -> None:
    need("pids")
    group = make(pids_limit=4)
    forks = "for n in range(9):\n    if os.fork() == 0: os.closerange(0, 3); time.sleep(99)\n    print(n)"
    process = run_in(group, f"import os, time\n{forks}")
    assert process.stdout.split() == ["0", "1", "2"]
    assert "BlockingIOError" in process.stderr
    assert group.stats()["pids"] == 3  # the first has ended


def test_a_share_of_a_processor_is_held_to(make: Callable[..., Group]) -> None:
    need("cpu")
    group = make(cpu_quota_us=10_000, cpu_period_us=100_000)
    spin = "import time; a = time.monotonic(), time.process_time()\nwhile time.monotonic() < a[0] + 1: pass\n"
    used = float(run_in(group, spin + "print(time.process_time() - a[1])").stdout)
    assert used < 0.5


def test_processors_are_those_of_the_list(make: Callable[..., Group]) -> None:
    need("cpuset")
    group = make(cpuset_cpus="0")
    assert run_in(group, "import os; print(os.sched_getaffinity(0))").stdout == "{0}\n"


def test_a_processor_that_is_not_there_is_refused_by_name(identity: str) -> None:
    need("cpuset")
    with pytest.raises(Refusal, match=r"--cpuset-cpus: cpuset.cpus doesn't take '4000'"):
        cgroups.create(identity, {"cpuset_cpus": "4000"})


def test_a_limit_that_this_machine_lacks_is_refused_by_name_unless_best_effort_is_enough(
    identity: str, make: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [one for one in hierarchies.find() if "memory" not in one.controllers]
    monkeypatch.setattr(hierarchies, "find", lambda: known)
    with pytest.raises(Refusal, match="--memory: no control group of this machine"):
        cgroups.create(identity, {"memory": 64 << 20})
    assert groups_called(identity) == []
    make(memory=64 << 20, cgroups="best-effort")


def test_disabled_groups_are_not_made(identity: str, make: Callable[..., Group]) -> None:
    group = make(cgroups="disabled")
    assert groups_called(identity) == []
    assert run_in(group, "print('runs')").stdout == "runs\n"


def test_only_the_usual_devices_can_be_opened(make: Callable[..., Group]) -> None:
    need("devices")
    group = make()
    names = ("null", "zero", "urandom", "kmsg")
    process = run_in(group, f"import os\nfor name in {names}: os.open('/dev/' + name, os.O_RDONLY); print(name)")
    assert process.stdout.split() == ["null", "zero", "urandom"]
    assert "PermissionError: [Errno 1]" in process.stderr


def test_a_rule_allows_one_more_device(make: Callable[..., Group]) -> None:
    need("devices")
    kmsg = os.stat("/dev/kmsg").st_rdev
    rule = f"c {os.major(kmsg)}:{os.minor(kmsg)} r"
    group = make(device_rules=[rule])
    assert run_in(group, "open('/dev/kmsg', 'rb', 0); print('read')").stdout == "read\n"
    assert "PermissionError: [Errno 1]" in run_in(group, "open('/dev/kmsg', 'wb', 0)").stderr


def test_a_frozen_process_does_nothing_and_goes_on_when_thawed(make: Callable[..., Group]) -> None:
    group = make()
    counts = "import itertools\nfor n in itertools.count(): print(n, flush=True)"
    process = start_in(group, counts)
    assert process.stdout is not None
    group.freeze()
    assert group.is_frozen()
    os.set_blocking(process.stdout.fileno(), False)
    while process.stdout.read(1 << 16):
        pass
    assert not process.stdout.read(1)
    group.thaw()
    assert not group.is_frozen()
    os.set_blocking(process.stdout.fileno(), True)
    assert process.stdout.read(1)
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_is_used_is_counted(make: Callable[..., Group]) -> None:
    need("memory", "pids")
    group = make(memory=256 << 20)
    process = start_in(group, "import signal; a = b'x' * (32 << 20); print(flush=True); signal.pause()")
    used = group.stats()
    assert used["pids"] == 1
    assert 32 << 20 < used["memory"] < 64 << 20
    assert used["memory_limit"] == 256 << 20
    assert used["cpu_ns"] > 1_000_000
    process.kill()
    process.communicate()


def test_cached_files_do_not_count_as_used_memory(make: Callable[..., Group], tmp_path: Path) -> None:
    need("memory")
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True).stdout
    if kind.strip() in ("tmpfs", "ramfs"):
        needs.missing("a filesystem that isn't in memory")
    group = make()
    process = start_in(
        group,
        f"import os\nwith open({str(tmp_path / 'f')!r}, 'wb') as f: f.write(bytes(48 << 20)); os.fsync(f.fileno())\n"
        + _WAITS,
    )
    assert group.stats()["memory"] < 32 << 20
    process.kill()
    process.communicate()


def test_limits_can_be_changed_while_processes_run(make: Callable[..., Group]) -> None:
    need("memory", "pids")
    from runtime.container.limits import Limits

    group = make(memory=64 << 20, memory_swap=64 << 20)
    process = start_in(group)
    for size in (256 << 20, 128 << 20, 512 << 20):  # up and down: whichever of the two limits has to go first
        group.update(Limits(memory=size, memory_swap=size))
        assert group.stats()["memory_limit"] == size
    process.kill()
    process.communicate()


def test_a_group_goes_with_all_that_runs_in_it_even_if_it_is_frozen(identity: str, make: Callable[..., Group]) -> None:
    group = make()
    processes = [start_in(group) for _ in range(3)]
    assert sorted(group.processes()) == sorted(process.pid for process in processes)
    group.freeze()
    cgroups.find(identity, {}).remove()
    assert groups_called(identity) == []
    for process in processes:
        process.communicate()
        assert process.returncode == -signal.SIGKILL


def test_groups_made_inside_go_too(identity: str, make: Callable[..., Group]) -> None:
    group = make()
    for part in group.parts:
        (Path(part.path) / "inner/most").mkdir(parents=True)
    group.remove()
    assert groups_called(identity) == []


def test_nothing_to_remove_is_no_error(identity: str) -> None:
    cgroups.find(identity, {}).remove()


def test_the_last_group_takes_the_common_directory_along(make: Callable[..., Group]) -> None:
    group = make()
    parents = {Path(part.path).parent for part in group.parts}
    assert {path.name for path in parents} == {"pyunion"}
    others = {path for path in parents if [entry for entry in path.iterdir() if entry.is_dir()][1:]}
    group.remove()
    assert {path for path in parents if path.exists()} <= others


def test_a_parent_that_was_named_is_used_and_stays(identity: str, make: Callable[..., Group]) -> None:
    parent = f"pyunion-test-{identity[:8]}"
    group = make(cgroup_parent=f"{parent}/batch")
    places = [Path(part.path) for part in group.parts]
    assert all(place.parts[-3:] == (parent, "batch", identity) for place in places)
    cgroups.find(identity, {"cgroup_parent": f"{parent}/batch"}).remove()
    for place in places:
        place.parent.rmdir()
        place.parent.parent.rmdir()
