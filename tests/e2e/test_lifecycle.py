"""Containers that stay: ps, start, diff, rm, names."""

import pytest

from tests.e2e.conftest import Pyunion
from tests.support.waiting import wait_for


def make(pyunion: Pyunion, name: str, script: str) -> None:
    result = pyunion("run", "--name", name, "--rootfs", pyunion.rootfs, "sh", "-c", script)
    assert result.stderr == ""


def test_a_container_without_rm_stays_with_what_it_changed(pyunion: Pyunion) -> None:
    make(pyunion, "one", "echo x >/new; rm /etc/group; echo y >>/etc/passwd; mkdir -p /d/e; exit 3")
    assert pyunion("diff", "one").stdout == "A /d\nA /d/e\nC /etc\nD /etc/group\nC /etc/passwd\nA /new\n"
    header, row = pyunion("ps", "-a").stdout.splitlines()
    assert header.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert "Exited (3)" in row
    assert row.endswith("one")
    assert pyunion("ps").stdout.split() == header.split()
    assert pyunion("rm", "one").stdout == "one\n"
    assert pyunion.leftovers() == []


def test_start_goes_on_where_the_container_was_left(pyunion: Pyunion) -> None:
    make(pyunion, "one", "echo line >>/log; wc -l </log")
    assert [pyunion("start", "-ai", "one").stdout for _ in range(2)] == ["2\n", "3\n"]


def test_start_gives_the_status_of_the_command(pyunion: Pyunion) -> None:
    make(pyunion, "one", "[ -e /there ] && exit 7; touch /there")
    assert pyunion("start", "-ai", "one").returncode == 7


def test_rm_option_leaves_nothing(pyunion: Pyunion) -> None:
    pyunion.sh("mkdir -p /a/b; echo x >/a/b/c; rm -r /home")
    assert pyunion.leftovers() == []


def test_a_name_can_be_used_once(pyunion: Pyunion) -> None:
    make(pyunion, "one", "true")
    result = pyunion.run("--name", "one", "true")
    assert result.returncode == 125
    assert '"one" is already in use' in result.stderr
    pyunion("rm", "one")
    assert pyunion.run("--name", "one", "true").returncode == 0


def test_containers_are_found_by_name_id_and_its_beginning(pyunion: Pyunion) -> None:
    make(pyunion, "one", "touch /x")
    identity = pyunion("ps", "-aq", "--no-trunc").stdout.strip()
    assert len(identity) == 64
    for text in ("one", identity, identity[:12], identity[:4]):
        assert pyunion("diff", text).stdout == "A /x\n"


@pytest.mark.parametrize("verb", ["start", "rm", "diff"])
@pytest.mark.parametrize("name", ["nobody", "../names", "", "."])
def test_a_container_that_is_not_there(pyunion: Pyunion, verb: str, name: str) -> None:
    result = pyunion(verb, name)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"pyunion {verb}: no such container: {name}\n"


def test_a_running_container_is_listed_and_refuses_rm(pyunion: Pyunion) -> None:
    process = pyunion.start("-i", "--name", "busy", "sh", "-c", "touch /x; echo ready; cat")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert "Up " in pyunion("ps").stdout
    assert pyunion("diff", "busy").stdout == "A /x\n"
    result = pyunion("rm", "busy")
    assert (result.returncode, "is running" in result.stderr) == (1, True)
    assert pyunion("start", "busy").stdout == "busy\n", "what runs is started already"
    process.communicate()
    assert process.returncode == 0


def test_rm_force_ends_a_running_container(pyunion: Pyunion) -> None:
    process = pyunion.start("-i", "--name", "busy", "sh", "-c", "echo ready; cat")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert pyunion("rm", "-f", "busy").stdout == "busy\n"
    assert process.wait(30) == 137
    process.communicate()


def test_what_a_container_leaves_is_removed_however_deep_or_odd(pyunion: Pyunion) -> None:
    script = "for i in $(seq 300); do mkdir 0123456789; cd 0123456789; done; chmod 0 .; ln -s / /root/x; mkfifo /fifo"
    make(pyunion, "deep", script)
    assert pyunion("rm", "deep").returncode == 0


def test_names_beyond_utf_8_are_kept_and_shown_as_text(pyunion: Pyunion) -> None:
    make(pyunion, "odd", "touch '/caf\udce9'")
    assert pyunion("diff", "odd").stdout == "A /caf\\xe9\n"
    assert list((pyunion.root / "containers").glob("*/diff/caf\udce9"))
    assert pyunion("start", "-ai", "odd").returncode == 0


def test_many_at_once_do_not_disturb_one_another(pyunion: Pyunion) -> None:
    processes = [pyunion.start("sh", "-c", f"echo {number} >/x; cat /x") for number in range(10)]
    assert [process.communicate(timeout=60) for process in processes] == [(f"{number}\n", "") for number in range(10)]
    assert pyunion.leftovers() == []


def test_one_of_many_gets_the_name(pyunion: Pyunion) -> None:
    processes = [pyunion.start("-i", "--name", "same", "sh", "-c", "echo ready; read x") for _ in range(5)]
    wait_for("the losers", lambda: len([1 for process in processes if process.poll() == 125]) == 4)
    for process in processes:
        process.communicate("go\n", timeout=60)
    assert sorted(process.returncode for process in processes) == [0, 125, 125, 125, 125]
