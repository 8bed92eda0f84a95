"""`logs`: what the command wrote, kept in the form of Docker's json-file."""

import json
import subprocess

from tests.e2e.conftest import Pyunion
from tests.e2e.test_background import detach, status
from tests.support.waiting import wait_for


def test_the_streams_are_kept_apart(pyunion: Pyunion) -> None:
    detach(pyunion, script="echo out; echo err >&2; printf rest")
    wait_for("its end", lambda: status(pyunion) == "exited 0")
    result = pyunion("logs", "one")
    assert (result.stdout, result.stderr) == ("out\nrest", "err\n")


def test_the_file_is_as_docker_writes_it(pyunion: Pyunion) -> None:
    detach(pyunion, script='echo "a\\"b"; printf "\\377"')
    wait_for("its end", lambda: status(pyunion) == "exited 0")
    path = pyunion("inspect", "-f", "{{.LogPath}}", "one").stdout.strip()
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    assert [(line["log"], line["stream"]) for line in lines] == [('a"b\n', "stdout"), ("\ufffd", "stdout")]
    assert all(line["time"].endswith("Z") and len(line["time"]) == 30 for line in lines)


def test_a_container_in_the_foreground_has_a_log_too(pyunion: Pyunion) -> None:
    assert pyunion("run", "--name", "one", "--rootfs", pyunion.rootfs, "echo", "shown").stdout == "shown\n"
    assert pyunion("logs", "one").stdout == "shown\n"


def test_tail_and_timestamps_and_spans(pyunion: Pyunion) -> None:
    detach(pyunion, script="for i in 1 2 3 4; do echo $i; done")
    wait_for("its end", lambda: status(pyunion) == "exited 0")
    assert pyunion("logs", "--tail", "2", "one").stdout == "3\n4\n"
    assert pyunion("logs", "--tail", "0", "one").stdout == ""
    stamped = pyunion("logs", "-t", "--tail", "1", "one").stdout
    moment, text = stamped.split()
    assert text == "4"
    assert pyunion("logs", "--since", moment, "one").stdout.endswith("4\n")
    assert pyunion("logs", "--until", "1h", "one").stdout == ""
    assert pyunion("logs", "--since", "1h", "one").stdout == "1\n2\n3\n4\n"
    assert pyunion("logs", "--since", "yesterday-ish", "one").returncode == 125


def test_following_ends_with_the_container(pyunion: Pyunion) -> None:
    detach(pyunion, "-i", script="echo first; read x; echo $x; read x")
    following = subprocess.Popen(pyunion.argv("logs", "-f", "one"), stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    assert following.stdout.readline() == "first\n"
    pyunion("attach", "--sig-proxy=false", "one", stdin="second\nthird\n")
    assert following.communicate(timeout=30)[0] == "second\n"


def test_a_full_file_is_rotated_and_old_ones_go(pyunion: Pyunion) -> None:
    options = ("--log-opt", "max-size=2k", "--log-opt", "max-file=2")
    detach(pyunion, *options, script="i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.001; done")
    wait_for("its end", lambda: status(pyunion) == "exited 0")
    lines = pyunion("logs", "one").stdout.splitlines()
    assert lines[-1] == "line 199"
    assert 20 < len(lines) < 100
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 200))


def test_without_a_log(pyunion: Pyunion) -> None:
    detach(pyunion, "--log-driver", "none", script="echo lost")
    result = pyunion("logs", "one")
    assert (result.returncode, "has no log" in result.stderr) == (1, True)


def test_a_reader_that_leaves_early_is_no_error_of_ours(pyunion: Pyunion) -> None:
    script = f"{' '.join(pyunion.argv('run', '--rm', '--rootfs', pyunion.rootfs, 'yes'))} | head -n 1"
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "y\n", "")
