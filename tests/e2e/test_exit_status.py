"""Exit statuses and error lines, as Docker has them."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion


@pytest.mark.parametrize("status", [0, 1, 42, 125, 126, 127, 255])
def test_the_commands_own_status_is_ours(pyunion: Pyunion, status: int) -> None:
    assert pyunion.run("sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("signal", [1, 2, 9, 15])
def test_a_signal_is_128_and_its_number(pyunion: Pyunion, signal: int) -> None:
    assert pyunion.run("sh", "-c", f"kill -{signal} $$").returncode == 128 + signal


@pytest.mark.parametrize(
    ("command", "status", "culprit"),
    [
        (["no-such-program"], 127, "no-such-program"),
        (["/no/such/program"], 127, "/no/such/program"),
        (["/etc/passwd/x"], 127, "/etc/passwd/x"),
        (["/etc/passwd"], 126, "/etc/passwd"),
        (["/etc"], 126, "/etc"),
        (["/proc/self/exe"], 126, "/proc/self/exe"),
        ([""], 127, "''"),
    ],
)
def test_a_command_that_cannot_run(pyunion: Pyunion, command: list[str], status: int, culprit: str) -> None:
    result = pyunion.run(*command)
    assert result.returncode == status
    assert result.stderr.startswith("pyunion run: exec: ")
    assert culprit in result.stderr
    assert result.stderr.count("\n") == 1
    assert pyunion.leftovers() == []


def test_a_script_without_its_interpreter_is_not_found(pyunion: Pyunion) -> None:
    script = "echo '#!/no/such/shell' >/tmp/s; chmod +x /tmp/s; exec /tmp/s"
    assert pyunion.run("sh", "-c", script).returncode == 127


def test_a_script_whose_interpreter_is_a_magic_link_is_refused(pyunion: Pyunion, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("#!/proc/self/exe\n")
    (tmp_path / "s").chmod(0o755)
    assert pyunion.run("-v", f"{tmp_path}/s:/s:ro", "/s").returncode == 126


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--no-such-option", "--host", "true"], "--no-such-option"),
        (["-X", "--host", "true"], "'X'"),
        (["--host"], "command"),
        ([], "--rootfs"),
        (["--host", "--rootfs", "/", "true"], "--rootfs"),
        (["--rootfs", "/no/such/dir", "true"], "/no/such/dir"),
        (["--rootfs", "/etc/passwd", "true"], "/etc/passwd"),
        (["--rootfs", "/etc::/usr", "true"], "/etc::/usr"),
        (["--host", "--network", "moon", "true"], "moon"),
        (["--host", "-w", "relative", "true"], "relative"),
        (["--host", "--name", "a/b", "true"], "a/b"),
        (["--host", "--hostname", "a b", "true"], "a b"),
        (["--host", "-e", "=x", "true"], "=x"),
        (["--host", "-v", "etc", "true"], "etc"),
        (["--host", "-v", "a/b:/x", "true"], "a/b"),
        (["--host", "-v", "/no/such/source:/x", "true"], "/no/such/source"),
        (["--host", "-v", "/etc:relative", "true"], "relative"),
        (["--host", "-v", "/etc:/", "true"], "/etc:/"),
        (["--host", "-v", "/etc:/x:odd", "true"], "odd"),
        (["--host", "-v", "/etc:/x", "--tmpfs", "/x", "true"], "/x"),
        (["--host", "--tmpfs", "/x:odd", "true"], "odd"),
        (["--host", "--rm=maybe", "true"], "maybe"),
        (["--host", "--name"], "--name"),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(pyunion: Pyunion, arguments: list[str], culprit: str) -> None:
    result = pyunion("run", *arguments)
    assert result.returncode == 125
    assert result.stdout == ""
    line, *hint = result.stderr.splitlines()
    assert line.startswith("pyunion run: ")
    assert culprit in line
    assert hint in ([], ["See 'pyunion run --help'."])
    assert pyunion.leftovers() == []


@pytest.mark.parametrize(
    "option", ["-u=nobody-here", "-u=root:no-group", "-u=99999999999", "--tmpfs=/x:size=odd", "-w=/etc/passwd"]
)
def test_what_only_the_container_can_tell_is_refused_as_clearly(pyunion: Pyunion, option: str) -> None:
    result = pyunion.run(option, "true")
    assert (result.returncode, result.stderr.count("\n")) == (125, 1)
    assert pyunion.leftovers() == []


def test_control_characters_do_not_reach_the_terminal(pyunion: Pyunion) -> None:
    result = pyunion.run("no\nsuch\x1b[31m")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def test_an_unknown_verb_is_refused(pyunion: Pyunion) -> None:
    result = pyunion("flyy")
    assert (result.returncode, result.stdout) == (125, "")
    assert "flyy" in result.stderr


@pytest.mark.parametrize("verb", ["run", "start", "ps", "rm", "diff"])
def test_help_is_there(pyunion: Pyunion, verb: str) -> None:
    result = pyunion(verb, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: pyunion {verb}")


def test_a_reader_that_leaves_is_no_error_of_ours(pyunion: Pyunion) -> None:
    pyunion("run", "--name", "many", "--rootfs", pyunion.rootfs, "sh", "-c", "for i in $(seq 5000); do >/$i; done")
    process = subprocess.Popen(pyunion.argv("diff", "many"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 125
    process.stderr.close()


def test_closed_descriptors_of_the_caller_do_no_harm(pyunion: Pyunion) -> None:
    script = 'exec "$@" <&- >&- 2>&-'
    argv = pyunion.argv("run", "--rm", "--rootfs", pyunion.rootfs, "sh", "-c", "echo x; echo y >&2; exit 4")
    assert subprocess.run(["sh", "-c", script, "sh", *argv], check=False, timeout=30).returncode == 4
