"""`-t`: a terminal of the container's own, joined to ours."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion, descendants
from tests.support.waiting import wait_for

_DEADLINE_S = 30


class Screen:
    """A terminal, and `pyunion run -it` in its foreground."""

    def __init__(self, pyunion: Pyunion, *arguments: str, verb: tuple[str, ...] = ()) -> None:
        self.master, slave = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            pyunion.argv(*(verb or ("run", "--rm", "--rootfs", str(pyunion.rootfs), "-it")), *arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.text = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str) -> str:
        """Read until `pattern` appears; what came up to its end is used up."""
        deadline = time.monotonic() + _DEADLINE_S
        while not (match := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, self.text
            self.text += os.read(self.master, 4096).decode(errors="replace")
        self.text = self.text[match.end() :]
        return match[0]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def shell(pyunion: Pyunion) -> Iterator[Screen]:
    """A shell whose prompt is `$ `, after that has appeared."""
    screen = Screen(pyunion, "-e", "PS1=$ ", "sh")
    screen.expect(r"\$ ")
    yield screen
    screen.close()


def test_the_command_has_a_terminal_on_all_three(shell: Screen) -> None:
    shell.type("tty; tty <&2; [ -t 1 ] && echo ye''s; echo $TERM\n")
    shell.expect("/dev/pts/0\r\n/dev/pts/0\r\nyes\r\nxterm\r\n")


def test_the_console_is_the_terminal(shell: Screen) -> None:
    shell.type("echo to-the-''console >/dev/console; echo to-''tty >/dev/tty; ls -l /dev/console | cut -c1\n")
    shell.expect("to-the-console\r\nto-tty\r\nc\r\n")


def test_ctrl_c_interrupts_the_foreground_and_not_the_shell(shell: Screen) -> None:
    shell.type("sleep 1000; echo stat''us $?\n")
    shell.expect("sleep 1000.*\r\n")
    wait_for("sleep", lambda: any(one.title == "sleep 1000" for one in descendants(shell.process.pid)))
    shell.type("\x03")
    shell.expect(r"\^C")
    shell.type("echo sti''ll here\n")
    shell.expect("still here\r\n")


def test_job_control(shell: Screen) -> None:
    shell.type("sleep 1000\n")
    wait_for("sleep", lambda: any(one.title == "sleep 1000" for one in descendants(shell.process.pid)))
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.type("jobs; kill %1; fg; echo go''ne\n")
    shell.expect("gone\r\n")


def test_the_size_is_ours_and_follows(shell: Screen) -> None:
    shell.type("stty size\n")
    shell.expect("30 100\r\n")
    shell.type("trap 'stty size' WINCH; echo wait''ing; while :; do read x; done\n")
    shell.expect("waiting\r\n")
    shell.resize(40, 132)
    shell.expect("40 132\r\n")


def test_keys_pass_as_they_are(pyunion: Pyunion) -> None:
    screen = Screen(pyunion, "sh", "-c", "stty raw -echo; echo ready; head -c4 | od -An -tx1")
    screen.expect("ready")
    screen.type("\x03\x1a\x04\r")
    screen.expect("03 1a 04 0d")
    screen.close()


def test_the_status_is_the_commands_and_our_terminal_gets_its_settings_back(shell: Screen) -> None:
    assert termios.tcgetattr(shell.slave) != shell.before
    shell.type("exit 9\n")
    assert shell.process.wait(_DEADLINE_S) == 9
    assert termios.tcgetattr(shell.slave) == shell.before


def test_our_terminal_gets_its_settings_back_even_if_pyunion_is_killed(shell: Screen) -> None:
    shell.process.send_signal(signal.SIGKILL)
    wait_for("settings restored", lambda: termios.tcgetattr(shell.slave) == shell.before)


def test_ctrl_d_ends_the_shell(shell: Screen) -> None:
    shell.type("\x04")
    assert shell.process.wait(_DEADLINE_S) == 0


def test_all_output_comes_before_the_end(pyunion: Pyunion) -> None:
    screen = Screen(pyunion, "seq", "20000")
    screen.expect("\n20000\r\n")
    assert screen.process.wait(_DEADLINE_S) == 0
    screen.close()


def test_without_a_terminal_of_ours_it_works_too(pyunion: Pyunion) -> None:
    assert pyunion.output("-it", "cat", stdin="typed\n") == "typed\ntyped\n"  # one of them the echo


def test_an_ordinary_user_owns_the_terminal(pyunion: Pyunion) -> None:
    assert pyunion.sh("stat -c %u $(tty); echo fine >/dev/tty", "-t", "-u", "alice") == "1000\nfine\n"


def test_planted_terminals_are_not_used(pyunion: Pyunion, layer: Path) -> None:
    (layer / "dev/pts").mkdir(parents=True)
    (layer / "dev/pts/0").symlink_to("/etc/passwd")
    (layer / "dev/console").symlink_to("/etc/passwd")
    result = pyunion.run_on(layer, "-t", "tty")
    assert (result.returncode, result.stdout) == (0, "/dev/pts/0\n")


def test_detach_keys_leave_the_container_to_itself_and_attach_comes_back(pyunion: Pyunion) -> None:
    options = ("run", "-it", "--name", "one", "-e", "PS1=$ ", "--rootfs", str(pyunion.rootfs))
    screen = Screen(pyunion, "sh", verb=options)
    screen.expect(r"\$ ")
    screen.type("echo fir''st\n")
    screen.expect("first\r\n")
    screen.type("\x10\x11")
    assert screen.process.wait(30) == 0
    assert termios.tcgetattr(screen.slave) == screen.before
    screen.close()
    assert pyunion("ps", "--format", "{{.Names}}").stdout == "one\n"
    again = Screen(pyunion, "one", verb=("attach", "--detach-keys", "ctrl-a,z"))
    again.type("echo sec''ond\n")
    again.expect("second\r\n")
    again.type("\x01z")
    assert again.process.wait(30) == 0
    again.close()
    last = Screen(pyunion, "one", verb=("attach",))
    last.type("exit 7\n")
    assert last.process.wait(30) == 7
    last.close()


def test_detach_keys_leave_a_container_that_writes_all_the_time(pyunion: Pyunion) -> None:
    options = ("--name=one", "--network=none", "--rootfs", str(pyunion.rootfs))
    screen = Screen(pyunion, *options, "yes", verb=("run", "-it"))
    screen.expect("y\r\ny")
    screen.type("\x10\x11")
    os.set_blocking(screen.master, False)

    def ended() -> bool:
        with suppress(BlockingIOError):
            os.read(screen.master, 4096)
        return screen.process.poll() is not None

    wait_for("its end", ended)
    screen.close()
    assert pyunion("exec", "one", "echo", "alive").stdout == "alive\n"


def test_two_who_are_attached_see_the_same(pyunion: Pyunion) -> None:
    options = ("run", "-it", "--rm", "--name", "one", "-e", "PS1=$ ", "--rootfs", str(pyunion.rootfs))
    first = Screen(pyunion, "sh", verb=options)
    first.expect(r"\$ ")
    second = Screen(pyunion, "one", verb=("attach",))
    second.type("echo bo''th\n")
    second.expect("both\r\n")
    first.expect("both\r\n")
    first.type("exit 3\n")
    assert (first.process.wait(30), second.process.wait(30)) == (3, 3)
    first.close()
    second.close()


def test_the_size_follows_whoever_passes_no_signals_on(pyunion: Pyunion) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    pyunion("run", "-dt", "--name=one", "--network=none", "--rootfs", pyunion.rootfs, "sh", "-c", script)
    screen = Screen(pyunion, "one", verb=("attach", "--sig-proxy=false"))
    screen.expect("30 100")
    screen.resize(40, 132)
    screen.expect("40 132")
    screen.close()


def test_exec_has_a_terminal_of_its_own(pyunion: Pyunion) -> None:
    assert pyunion("run", "-dt", "--name", "one", "--rootfs", pyunion.rootfs, "sleep", "1000").returncode == 0
    screen = Screen(pyunion, "one", "sh", "-c", "tty; stty size; echo $TERM; read x; exit $x", verb=("exec", "-it"))
    screen.expect("/dev/pts/1\r\n30 100\r\nxterm\r\n")
    screen.type("5\n")
    assert screen.process.wait(30) == 5
    screen.close()


def test_our_terminal_gets_its_settings_back_from_exec_even_if_that_is_killed(pyunion: Pyunion) -> None:
    pyunion("run", "-d", "--name=one", "--network=none", "--rootfs", pyunion.rootfs, "sleep", "1000")
    screen = Screen(pyunion, "one", "sh", "-c", "echo ready; exec cat", verb=("exec", "-it"))
    screen.expect("ready")
    wait_for("a raw terminal", lambda: termios.tcgetattr(screen.slave) != screen.before)
    screen.process.send_signal(signal.SIGKILL)
    wait_for("settings restored", lambda: termios.tcgetattr(screen.slave) == screen.before)
    screen.close()
