"""Where the time goes while a container starts: with PYUNION_TRACE set, each phase is a line on standard error.

    pyunion: trace 112.3 ms, 8.1 of 4711: namespaces made

Milliseconds since the command was started, by the kernel's clock of 10 ms steps, and of processor time of the process
that tells it.
"""

import os
import time

_HIGH = 700


class _Trace:
    fd = -1
    began_s = 0.0


def begin() -> None:
    """Keep standard error for it, whatever becomes of descriptor 2. Called once, by the command."""
    if os.environ.get("PYUNION_TRACE"):
        import fcntl

        from unionfs.linux.process import start_ticks

        _Trace.began_s = start_ticks(os.getpid()) / os.sysconf("SC_CLK_TCK")
        _Trace.fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, _HIGH)


def kept() -> set[int]:
    """The descriptor that is to stay open for it, if one is."""
    return {_Trace.fd} - {-1}


def mark(phase: str) -> None:
    """A phase has ended."""
    if _Trace.fd >= 0:
        milliseconds = (time.clock_gettime(time.CLOCK_BOOTTIME) - _Trace.began_s) * 1000
        used = time.process_time() * 1000
        os.write(_Trace.fd, f"pyunion: trace {milliseconds:6.1f} ms, {used:5.1f} of {os.getpid()}: {phase}\n".encode())
