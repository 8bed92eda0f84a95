"""One container, and several commands at once that change it or look into it."""

import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion
from tests.support.waiting import wait_for

_ROUNDS = 3
_LOOPS = (
    (("start", "one"),),
    (("stop", "-t", "0", "one"),),
    (("kill", "one"),),
    (("exec", "one", "true"),),
    (("cp", "/etc/hostname", "one:/tmp/"),),
    (("cp", "one:/etc/passwd", "-"),),
    (("diff", "one"),),
    (("pause", "one"), ("unpause", "one")),
    (("rename", "one", "two"), ("rename", "two", "one")),
    (("update", "--memory=64m", "one"), ("network", "disconnect", "bridge", "one")),
    (("inspect", "one"), ("top", "one")),
)
_ANSWERS = re.compile(
    "pyunion [a-z ]+: (no such (container|object).*"
    "|container (one|two) is (not running|paused.*|not paused|not on network bridge))\n|"
)


@pytest.mark.race
def test_each_of_many_verbs_gets_its_answer(pyunion: Pyunion) -> None:
    assert pyunion("create", "--name=one", "--rootfs", pyunion.rootfs, "sleep", "1000").stderr == ""
    results: list[subprocess.CompletedProcess[str]] = []

    def loop(verbs: tuple[tuple[str, ...], ...]) -> None:
        for _ in range(_ROUNDS):
            results.extend(pyunion(*words) for words in verbs)

    threads = [threading.Thread(target=loop, args=(verbs,)) for verbs in _LOOPS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    odd = {(tuple(one.args[3:]), one.returncode, one.stderr) for one in results if not _ANSWERS.fullmatch(one.stderr)}
    assert odd == set()
    executed = {one.returncode for one in results if "exec" in one.args}
    assert executed <= {0, 1, 137}, "what is killed together with the container"
    assert {one.returncode for one in results if "exec" not in one.args} <= {0, 1}
    assert len(results) == _ROUNDS * sum(map(len, _LOOPS))
    assert pyunion.containers() == ["one"]


def test_one_that_is_paused_ends_with_who_runs_it(pyunion: Pyunion) -> None:
    process = pyunion.start("-i", "--name=one", "--network=none", "sh", "-c", "echo ready; cat")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert pyunion("pause", "one").stderr == ""
    process.kill()
    process.communicate(timeout=30)
    wait_for("nothing left", lambda: pyunion.leftovers() == [])


def test_starts_that_fail_again_and_again_hold_nothing(pyunion: Pyunion) -> None:
    """The monitor's descriptors are as many after each."""
    on = ("--network=none", "--rootfs", pyunion.rootfs)
    pyunion("run", "-d", "--name=first", *on, "sleep", "1000")
    pyunion("run", "-d", "--name=one", "--pid=container:first", "--restart=always", *on, "sleep", "1000")
    pid = pyunion("inspect", "-f", "{{.State.Pid}}", "one").stdout.strip()
    monitor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    pyunion("rm", "-f", "first")
    before = held_after(pyunion, 2, monitor)
    assert held_after(pyunion, 4, monitor) == before


def held_after(pyunion: Pyunion, restarts: int, monitor: str) -> int:
    template = "{{.State.Status}} {{.RestartCount}}"
    wait_for(
        "restarts",
        lambda: (said := pyunion("inspect", "-f", template, "one").stdout.split())[0] == "restarting"
        and int(said[1]) >= restarts,
    )
    return len(list(Path(f"/proc/{monitor}/fd").iterdir()))
