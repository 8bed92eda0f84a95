"""Containers whose processes are killed at random moments: the next command finds nothing of them.

PYUNION_TEST_STARTS says how many are started (20); PYUNION_TEST_SEED repeats a run.
"""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import Process, Pyunion, descendants, process, wait_for

_STARTS = int(os.environ.get("PYUNION_TEST_STARTS", "20"))
_SEED = int(os.environ.get("PYUNION_TEST_SEED", "0")) or random.randrange(1 << 32)
_AT_ONCE = 2
_LONGEST_S = 0.6
_OPTIONS = (
    ("--rm", "-i"),
    ("--rm", "-i", "-v", "/data"),
    ("--rm", "-d"),
    ("-d", "--restart=always"),
    ("--rm", "-i", "--network=none"),
    ("--rm", "-d", "--pids-limit=50", "--network=none"),
)


def test_nothing_is_left_of_containers_that_were_killed(pyunion: Pyunion) -> None:
    chance = random.Random(_SEED)
    print(f"PYUNION_TEST_SEED={_SEED}")
    before = traces(pyunion)
    family: list[Process] = []
    for _ in range(0, _STARTS, _AT_ONCE):
        started = [start(pyunion, chance.choice(_OPTIONS)) for _ in range(_AT_ONCE)]
        time.sleep(chance.uniform(0, _LONGEST_S))  # not to wait for something: the moment is what is tried
        family += kill_some(chance, [one for popen in started for one in descendants(popen.pid)], pyunion)
        for popen in started:
            popen.kill()
            popen.communicate(timeout=30)
    for name in pyunion.containers():
        pyunion("rm", "-f", "-v", name)
    wait_for("all processes gone", lambda: not any(one.alive() for one in family))
    wait_for("nothing left", lambda: (pyunion("ps"), pyunion.leftovers())[1] == [])
    assert traces(pyunion) == before


def start(pyunion: Pyunion, options: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    argv = pyunion.argv("run", *options, "--rootfs", pyunion.rootfs, "sh", "-c", "echo x >/x; sleep 1000 & wait")
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=null, stderr=null)


def kill_some(chance: random.Random, family: list[Process], pyunion: Pyunion) -> list[Process]:
    """Kill one to all of what runs; also of what has no parent of ours any more: all that were there."""
    everybody = family + [one for one in of_the_store(pyunion) if one not in family]
    for one in chance.sample(everybody, chance.randint(0, len(everybody))):
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return everybody


def of_the_store(pyunion: Pyunion) -> list[Process]:
    """The monitors of detached containers, which hold a lock in the run directory, and all below them."""
    found: list[Process] = []
    for name in os.listdir("/proc"):
        try:
            fds = os.listdir(f"/proc/{name}/fd") if name.isdigit() else []
            held = any(os.readlink(f"/proc/{name}/fd/{fd}").startswith(f"{pyunion.runroot}/") for fd in fds)
        except OSError:
            continue
        if held and (one := process(int(name))):
            found += [one, *descendants(one.pid)]
    return found


def traces(pyunion: Pyunion) -> dict[str, list[str]]:
    """What containers could leave on the machine, besides their own directories."""
    groups = Path("/sys/fs/cgroup").glob("**/pyunion/*")
    log = pyunion.root / "events.log"
    ours = {json.loads(line)["id"] for line in log.read_text().splitlines()} if log.exists() else set()
    return {
        "mounts": sorted(line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "groups": sorted(str(path) for path in groups if path.name in ours),
        "links": sorted(os.listdir("/sys/class/net")),
        "volumes": sorted(pyunion("volume", "ls", "-q").stdout.split()),
    }
