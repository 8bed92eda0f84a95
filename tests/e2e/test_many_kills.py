"""Containers whose processes are killed at random moments: the next command finds nothing of them.

PYUNION_TEST_STARTS says how many are started (20); PYUNION_TEST_SEED repeats a run. `make races` runs it long.
"""

import json
import os
import random
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Process, Pyunion, descendants, process
from tests.e2e.test_rootless import PROGRAM, User, user
from tests.support.waiting import wait_for

__all__ = ["user"]

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
_OPTIONS_OF_USERS = (
    ("--rm", "-i"),
    ("--rm", "-i", "-v", "/data", "--network=none"),
    ("--rm", "-d", "--network=bridge"),
    ("-d", "--restart=always"),
    ("--rm", "-i", "--network=bridge", "-p", "127.0.0.1::80"),
)


class OfUser(Pyunion):
    """The command as an ordinary user of this machine runs it."""

    def __init__(self, user: User) -> None:
        super().__init__(user.top, user.top / "rootfs")
        self.root, self.runroot = user.top / "home/data/pyunion", user.top / "home/run/pyunion"
        self._user = user

    def argv(self, *arguments: str | Path) -> list[str]:
        return self._user.argv(f"exec {shlex.join([str(PROGRAM), *map(str, arguments)])}")


@pytest.mark.race
def test_nothing_is_left_of_containers_that_were_killed(pyunion: Pyunion) -> None:
    start_and_kill(pyunion, _OPTIONS)


@pytest.mark.race
def test_nor_of_those_of_an_ordinary_user(user: User) -> None:
    start_and_kill(OfUser(user), _OPTIONS_OF_USERS)


def start_and_kill(pyunion: Pyunion, options: tuple[tuple[str, ...], ...]) -> None:
    chance = random.Random(_SEED)
    print(f"PYUNION_TEST_SEED={_SEED}")
    for each in options:  # what the first container makes for all that follow is no trace
        plain = [word for word in each if word not in ("-d", "--restart=always")]
        assert pyunion.run(*plain, "true").stderr == ""
    before = traces(pyunion)
    family: list[Process] = []
    killed = sessions = 0
    for number in range(0, _STARTS, _AT_ONCE):
        started = [start(pyunion, f"c{number + i}", chance.choice(options)) for i in range(_AT_ONCE)]
        time.sleep(chance.uniform(0, _LONGEST_S))  # not to wait for something: the moment is what is tried
        if chance.random() < 0.5:
            started.append(call(pyunion, "exec", "-i", f"c{number}", "sh", "-c", "sleep 1000 & wait"))
            sessions += 1
            time.sleep(chance.uniform(0, _LONGEST_S))
        alive, dead = kill_some(chance, [one for popen in started for one in descendants(popen.pid)], pyunion)
        family += alive
        killed += dead
        for popen in started:
            popen.kill()
            popen.communicate(timeout=30)
    for name in pyunion.containers():
        pyunion("rm", "-f", "-v", name)
    wait_for("all processes gone", lambda: not any(one.alive() for one in family))
    wait_for("nothing left", lambda: (pyunion("ps"), pyunion.leftovers())[1] == [])
    after = traces(pyunion)
    print(f"{_STARTS} starts, {sessions} sessions, {killed} of {len(family)} processes killed; left of each kind:")
    print({kind: f"{len(after[kind])} of {len(before[kind])}" for kind in before})
    for kind, found in before.items():
        assert (kind, set(after[kind]) ^ set(found)) == (kind, set())


def start(pyunion: Pyunion, name: str, options: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    script = "echo x >/x; sleep 1000 & wait"
    return call(pyunion, "run", "--name", name, *options, "--rootfs", pyunion.rootfs, "sh", "-c", script)


def call(pyunion: Pyunion, *arguments: str | Path) -> "subprocess.Popen[bytes]":
    null = subprocess.DEVNULL
    return subprocess.Popen(pyunion.argv(*arguments), stdin=subprocess.PIPE, stdout=null, stderr=null)


def kill_some(chance: random.Random, family: list[Process], pyunion: Pyunion) -> tuple[list[Process], int]:
    """Kill none to all of what runs, also of what has no parent of ours any more: all that were there, and how many."""
    everybody = family + [one for one in of_the_store(pyunion) if one not in family]
    chosen = chance.sample(everybody, chance.randint(0, len(everybody)))
    for one in chosen:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return everybody, len(chosen)


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
    """What containers could leave on the machine: in its mounts, groups, network, sockets, and on disk."""
    groups = Path("/sys/fs/cgroup").glob("**/pyunion/*")
    log = pyunion.root / "events.log"
    ours = {json.loads(line)["id"] for line in log.read_text().splitlines()} if log.exists() else set()
    state = str(pyunion.root.parent)
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False).stdout
    files = [path for top in (pyunion.root, pyunion.runroot) for path in top.rglob("*")]
    return {
        "processes": [one.title for one in of_the_store(pyunion)],
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if state in line],
        "namespaces": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " nsfs " in line],
        "groups": sorted(str(path) for path in groups if path.name in ours),
        "links": sorted(name for _, name in socket.if_nameindex()),
        "rules": sorted(rules.splitlines()),
        "sockets": sorted(line for line in Path("/proc/self/net/unix").read_text().splitlines() if state in line),
        "volumes": sorted(pyunion("volume", "ls", "-q").stdout.split()),
        "files": sorted(str(path) for path in files),
    }
