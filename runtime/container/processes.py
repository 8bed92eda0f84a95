"""The processes of a container, as the machine sees them."""

import os
import signal
import time
from contextlib import suppress
from typing import NamedTuple

from runtime.container import namespaces
from runtime.container.record import Container
from unionfs.linux import process

_TICKS = os.sysconf("SC_CLK_TCK")


class Row(NamedTuple):
    """One process, in the columns of `ps -ef`."""

    uid: int
    pid: int
    parent: int
    started: str
    terminal: str
    time: str
    command: str


def pids(container: Container) -> list[int]:
    """All of its pid namespace, its first process left out. Raises Refusal: it doesn't run."""
    doors = namespaces.open_doors(container, is_root=os.geteuid() == 0)
    first = int(container.state()["pid"])
    if doors.fds:
        process.setns(doors.fds[0], process.CLONE_NEWUSER)  # for the right to look at the processes
        namespace = os.stat(doors.fds[1]).st_ino
    else:
        namespace = os.stat(f"/proc/{first}/ns/pid").st_ino
    for fd in doors.descriptors():
        os.close(fd)
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                found.append(int(name))
    return sorted(pid for pid in found if pid != first)


def stop_first_child(parent: int) -> None:
    """Stop the first child of a process, if it is still there. Others may be orphans that it was given."""
    for pid in _children(parent)[:1]:
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            if pid in _children(parent):  # still, and so it is what was opened
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
            os.close(pidfd)


def _children(parent: int) -> list[int]:
    """The oldest first: proc_pid_task_children(5)."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def row(pid: int) -> Row | None:
    """What there is to say about a process; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().rstrip(b"\0").replace(b"\0", b" ") or b"[%b]" % name
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    fields = rest.split()
    seconds = (int(fields[11]) + int(fields[12])) // _TICKS
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(fields[19]) / _TICKS
    return Row(
        uid,
        pid,
        int(fields[1]),
        time.strftime("%H:%M", time.localtime(began)),
        _terminal(int(fields[4])),
        f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        command.decode(errors="backslashreplace"),
    )


def _terminal(device: int) -> str:
    return f"pts/{os.minor(device)}" if os.major(device) == 136 else "?"
