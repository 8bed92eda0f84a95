"""unionfs.linux.process: each call in a child, as none can be taken back."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import needs
from unionfs.linux import process
from unionfs.linux.capset import capget


def in_child(function: Callable[[], object]) -> str:
    """What `function` returns in a process forked for it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(function()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.parametrize("title", ["short", "", "x" * 100_000, "naïve"])
def test_a_title_replaces_the_command_line_and_no_more(title: str) -> None:
    def child() -> bool:
        room = len(Path("/proc/self/cmdline").read_bytes())
        environment = Path("/proc/self/environ").read_bytes()
        process.set_title(title)
        shown = Path("/proc/self/cmdline").read_bytes()
        untouched = Path("/proc/self/environ").read_bytes() == environment
        return untouched and shown.rstrip(b"\0") == title.encode()[: room - 1]

    assert in_child(child) == "True"


def test_start_ticks_tell_a_process_from_a_later_one() -> None:
    assert process.start_ticks(os.getpid()) == process.start_ticks(os.getpid())
    assert int(in_child(lambda: process.start_ticks(os.getpid()))) >= process.start_ticks(os.getpid())
    with pytest.raises(FileNotFoundError):
        process.start_ticks(2**22 + 1)


def test_die_with_parent() -> None:
    reader, writer = os.pipe()

    def parent() -> str:
        child = os.fork()
        if child == 0:
            process.die_with_parent(signal.SIGKILL)
            os.write(writer, b"r")
            signal.pause()
        os.read(reader, 1)
        return str(child)

    child = int(in_child(parent).partition("\n")[0])
    os.close(writer)
    os.close(reader)
    with pytest.raises((ProcessLookupError, FileNotFoundError)):
        for _ in range(10**6):
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                raise ProcessLookupError
            os.kill(child, 0)


@needs.root
def test_the_bounding_set_shrinks_to_what_is_kept() -> None:
    def child() -> str:
        process.drop_bounding_set(0b11)
        status = Path("/proc/self/status").read_text()
        return next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd"))

    assert int(in_child(child), 16) == 0b11
    assert capget().permitted != 0b11


@needs.root
def test_the_hostname_of_a_new_namespace_is_its_own() -> None:
    ours = socket.gethostname()

    def child() -> str:
        process.unshare(process.CLONE_NEWUTS)
        process.sethostname(b"inside")
        return socket.gethostname()

    assert in_child(child) == "inside"
    assert socket.gethostname() == ours


@needs.root
def test_a_hostname_that_is_too_long_is_einval() -> None:
    def child() -> None:
        process.unshare(process.CLONE_NEWUTS)
        process.sethostname(b"x" * 65)

    assert "Invalid argument" in in_child(child)


def test_an_undumpable_process_belongs_to_root() -> None:
    def child() -> int:
        process.make_undumpable()
        return os.stat("/proc/self/fd").st_uid

    assert in_child(child) == "0"
