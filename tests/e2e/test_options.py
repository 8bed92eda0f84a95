"""Options of `run` that shape the command: standard input, environment, user, working directory."""

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion


def test_standard_input_is_passed_on_with_i_only(pyunion: Pyunion) -> None:
    assert pyunion.output("-i", "cat", stdin="hello\n") == "hello\n"
    assert pyunion.output("cat", stdin="hello\n") == ""


def test_much_data_passes_both_ways(pyunion: Pyunion) -> None:
    text = "0123456789abcde\n" * 200_000
    assert pyunion.output("-i", "cat", stdin=text) == text


def test_standard_error_is_apart(pyunion: Pyunion) -> None:
    result = pyunion.run("sh", "-c", "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_reader_that_leaves_ends_the_writer(pyunion: Pyunion) -> None:
    process = pyunion.start("sh", "-c", "yes; echo $? >&2")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "y\n"
    process.stdout.close()
    assert process.wait(30) in (0, 1, 141)


def test_the_environment_is_this_and_what_is_given(pyunion: Pyunion) -> None:
    os.environ["PYUNION_TEST_SECRET"] = "secret"
    try:
        options = ("-e", "A=b c=d", "-e", "PYUNION_TEST_SECRET", "-e", "NOT_SET_ANYWHERE")
        lines = pyunion.output("--hostname=box", *options, "env").splitlines()
        plain = pyunion.output("--hostname=box", "env").splitlines()
    finally:
        del os.environ["PYUNION_TEST_SECRET"]
    assert sorted(plain) == [
        "HOME=/root",
        "HOSTNAME=box",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    assert sorted(set(lines) - set(plain)) == ["A=b c=d", "PYUNION_TEST_SECRET=secret"]


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", "0 0 0 63 /root"),
        ("alice", "1000 1001 1001 50 63 /home/alice"),
        ("1000", "1000 1001 1001 50 63 /home/alice"),
        ("alice:staff", "1000 50 50 /home/alice"),
        ("alice:7", "1000 7 7 /home/alice"),
        ("7", "7 0 0 /"),
        ("7:8", "7 8 8 /"),
        (":staff", "0 50 50 /root"),
    ],
)
def test_users_are_looked_up_inside(pyunion: Pyunion, user: str, ids: str) -> None:
    assert pyunion.sh("echo $(id -u) $(id -g) $(id -G) $HOME", f"--user={user}").strip() == ids


def test_an_ordinary_user_can_open_its_stdout_again(pyunion: Pyunion) -> None:
    assert pyunion.sh("echo hello >/dev/stdout", "-u", "alice") == "hello\n"


def test_a_passwd_that_is_a_fifo_does_not_hang(pyunion: Pyunion, layer: Path) -> None:
    (layer / "etc").mkdir()
    os.mkfifo(layer / "etc/passwd")
    result = pyunion.run_on(layer, "-u", "alice", "true")
    assert result.returncode == 125
    assert "/etc/passwd" in result.stderr


def test_the_working_directory_is_made_if_missing(pyunion: Pyunion) -> None:
    assert pyunion.output("pwd") == "/\n"
    assert pyunion.output("-w", "/home/alice", "pwd") == "/home/alice\n"
    assert pyunion.output("-w", "/new/deep", "pwd") == "/new/deep\n"


@pytest.mark.parametrize("fd", range(3, 20))
def test_no_descriptor_leads_out_as_working_directory(pyunion: Pyunion, fd: int) -> None:
    assert pyunion.run("-w", f"/proc/self/fd/{fd}", "true").returncode == 125
    assert pyunion.run("-w", f"/proc/1/fd/{fd}", "true").returncode == 125


def test_layers_are_stacked_uppermost_first(pyunion: Pyunion, tmp_path: Path) -> None:
    top, middle = tmp_path / "top", tmp_path / "mid:dle"
    for layer in (top, middle):
        layer.mkdir()
        layer.chmod(0o755)
        (layer / layer.name).write_text("")
        (layer / "same").write_text(layer.name)
    middle_name = str(middle).replace(":", "\\:")
    rootfs = f"{top}:{middle_name}:{pyunion.rootfs}"
    result = pyunion("run", "--rm", "--rootfs", rootfs, "sh", "-c", "cat same; ls -d top mid:dle bin")
    assert (result.stdout, result.stderr) == ("topbin\nmid:dle\ntop\n", "")


def test_new_files_have_the_modes_that_the_umask_leaves(pyunion: Pyunion) -> None:
    script = "umask; touch /f; stat -c %a /f"
    assert [pyunion.sh(script), pyunion.sh(script, "--umask=0077")] == ["0022\n644\n", "0077\n600\n"]
    pyunion("run", "-d", "--name=box", "--umask=7", "--rootfs", pyunion.rootfs, "sleep", "1000")
    assert pyunion("exec", "box", "sh", "-c", "umask").stdout == "0007\n"
    for text in ("8", "", "01777", "x"):
        assert f"invalid --umask {text!r}" in pyunion.run("--umask", text, "true").stderr


def test_the_pid_of_each_start_is_written_to_a_file(pyunion: Pyunion, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    pyunion("run", "-d", "--name=box", "--pidfile", file, "--rootfs", pyunion.rootfs, "sleep", "1000")
    first = file.read_text()
    assert first == pyunion("inspect", "-f", "{{.State.Pid}}", "box").stdout
    pyunion("restart", "-t", "0", "box")
    assert first != file.read_text() == pyunion("inspect", "-f", "{{.State.Pid}}", "box").stdout
    result = pyunion.run("--pidfile", tmp_path / "none/pid", "true")
    assert (result.returncode, result.stderr.count("none/pid: No such file or directory")) == (125, 1)


def test_annotations_are_noted(pyunion: Pyunion) -> None:
    pyunion("create", "--name=box", "--annotation", "a=b", "--annotation", "c", "--rootfs", pyunion.rootfs, "true")
    assert pyunion("inspect", "-f", "{{json .HostConfig.Annotations}}", "box").stdout == '{"a":"b","c":""}\n'
