"""Containers that look after their health: when they are well, and when not any more."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Pyunion
from tests.support.waiting import wait_for

QUICK = ("--health-interval=50ms", "--health-start-interval=50ms", "--health-timeout=20s")


def start(pyunion: Pyunion, *options: str, image: tuple[str | Path, ...] = ()) -> None:
    on = image or ("--rootfs", pyunion.rootfs, "sleep", "1000")
    result = pyunion("run", "-d", "--name=box", "--network=none", *options, *on)
    assert result.stderr == ""


def health(pyunion: Pyunion) -> dict[str, object]:
    return dict(json.loads(pyunion("inspect", "-f", "{{json .State.Health}}", "box").stdout))


def results(pyunion: Pyunion) -> list[dict[str, Any]]:
    log = health(pyunion)["Log"]
    assert isinstance(log, list)
    return log


def status(pyunion: Pyunion) -> str:
    return pyunion("ps", "--format", "{{.Status}}").stdout.strip()


def becomes(pyunion: Pyunion, what: str) -> None:
    wait_for(what, lambda: health(pyunion)["Status"] == what)


def test_it_is_starting_then_healthy_then_unhealthy_and_healthy_again(pyunion: Pyunion) -> None:
    start(pyunion, *QUICK, "--health-cmd=test ! -e /ill", "--health-retries=2")
    becomes(pyunion, "healthy")
    assert "(healthy)" in status(pyunion)
    pyunion("exec", "box", "touch", "/ill")
    becomes(pyunion, "unhealthy")
    assert "(unhealthy)" in status(pyunion)
    pyunion("exec", "box", "rm", "/ill")
    becomes(pyunion, "healthy")
    assert health(pyunion)["FailingStreak"] == 0
    events = pyunion("events", "--since=1h", "--until=0s", "--format={{.Action}}").stdout.splitlines()
    told = [event for event in events if event.startswith("health_status")]
    assert told == [f"health_status: {word}" for word in ("healthy", "unhealthy", "healthy")]
    for word, names in (("healthy", "box\n"), ("unhealthy", "")):
        assert pyunion("ps", "--filter", f"health={word}", "--format", "{{.Names}}").stdout == names


def test_a_test_may_be_months_away(pyunion: Pyunion) -> None:
    start(pyunion, "--health-interval=10000h", "--health-start-interval=10000h", "--health-cmd=true")
    assert pyunion("exec", "box", "true").returncode == 0
    assert health(pyunion)["Status"] == "starting"


def test_the_last_five_results_are_kept_with_what_was_said(pyunion: Pyunion) -> None:
    start(pyunion, *QUICK, "--health-cmd=echo well; echo ill >&2; head -c 9999 /dev/zero; exit 3")
    wait_for("six", lambda: int(str(health(pyunion)["FailingStreak"])) > 5)
    log = results(pyunion)
    assert [result["ExitCode"] for result in log] == [3] * 5
    assert all(len(result["Output"]) == 4096 and "well\n" in result["Output"] for result in log)
    assert [result["Start"] for result in log] == sorted(result["Start"] for result in log)


def test_one_that_takes_too_long_has_failed_and_is_ended(pyunion: Pyunion) -> None:
    settings = ("--health-interval=50ms", "--health-timeout=200ms", "--health-retries=1")
    start(pyunion, *settings, "--health-cmd=exec sleep 999")
    becomes(pyunion, "unhealthy")
    first = results(pyunion)[0]
    assert (first["ExitCode"], first["Output"]) == (-1, "Health check exceeded timeout (0.2s)")
    assert pyunion("top", "box").stdout.count("sleep 999") <= 1  # that of the next test


def test_failures_in_the_start_period_do_not_count(pyunion: Pyunion) -> None:
    start(pyunion, *QUICK, "--health-start-period=1h", "--health-retries=1", "--health-cmd=test -e /ready")
    wait_for("two", lambda: len(results(pyunion)) >= 2)
    assert "(health: starting)" in status(pyunion)
    pyunion("exec", "box", "touch", "/ready")
    becomes(pyunion, "healthy")
    pyunion("exec", "box", "rm", "/ready")
    becomes(pyunion, "unhealthy")


def test_an_image_says_how_and_options_say_otherwise(pyunion: Pyunion) -> None:
    archive = pyunion.rootfs.parent / "health.tar"
    subprocess.run(["tar", "-cf", archive, "-C", pyunion.rootfs, "."], check=True)
    change = 'HEALTHCHECK --interval=50ms --retries=1 CMD ["test", "-e", "/bin"]'
    assert pyunion("import", "-c", change, archive, "base").stderr == ""
    start(pyunion, image=("base", "sleep", "1000"))
    becomes(pyunion, "healthy")
    pyunion("rm", "-f", "box")
    start(pyunion, "--health-cmd=false", image=("base", "sleep", "1000"))
    becomes(pyunion, "unhealthy")
    pyunion("rm", "-f", "box")
    start(pyunion, "--no-healthcheck", image=("base", "sleep", "1000"))
    assert pyunion("inspect", "-f", "{{.State}}", "box").stdout.find("Health") == -1


def test_it_begins_anew_with_every_start_and_ends_with_the_container(pyunion: Pyunion) -> None:
    start(pyunion, *QUICK, "--health-cmd=test -e /well; sleep 0.1")
    pyunion("exec", "box", "touch", "/well")
    becomes(pyunion, "healthy")
    pyunion("stop", "-t", "0", "box")
    assert health(pyunion)["Status"] == "healthy"
    assert "health" not in pyunion("ps", "-a", "--format", "{{.Status}}").stdout
    pyunion("start", "box")
    becomes(pyunion, "healthy")


def test_a_user_namespace_is_entered_for_it(pyunion: Pyunion) -> None:
    start(pyunion, *QUICK, f"--uidmap=0:{1 << 30}:65536", "-u", "alice", "--health-cmd=id -un; test $(id -u) = 1000")
    becomes(pyunion, "healthy")


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--health-interval=1s"], "give --health-cmd"),
        (["--health-cmd=true", "--health-interval=5"], "invalid --health-interval: '5' isn't a span of time"),
        (["--health-cmd=true", "--health-timeout=1us"], "invalid --health-timeout '1us': it is at least 1ms"),
        (["--health-cmd=true", "--health-retries=0"], "invalid --health-retries '0'"),
        (["--no-healthcheck", "--health-cmd=true"], "conflicting options: --no-healthcheck"),
    ],
)
def test_what_cannot_be_is_refused(pyunion: Pyunion, options: list[str], culprit: str) -> None:
    result = pyunion.run(*options, "true")
    assert (result.returncode, culprit in result.stderr) == (125, True)
