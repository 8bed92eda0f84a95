"""A driver process: forked once the filesystem is mounted, it serves it and holds nothing of whoever started it.

A process that waits for the end of our stderr, or of a pipe it leaked to us, must not wait for the unmount.
"""

import os
import signal
from collections.abc import Iterable

from unionfs.core import volatile
from unionfs.fuse import kernel
from unionfs.fuse.mounting import Connection

_SYSLOG = "/dev/log"


def open_descriptors() -> list[int]:
    """The descriptors this process has beyond stdio; called first thing, those it was started with."""
    found = [int(name) for name in os.listdir("/proc/self/fd")]
    return [fd for fd in found if fd > 2 and _is_open(fd)]


def fork_driver(connection: Connection, *, inherited: Iterable[int] = (), timeout_s: float) -> int:
    """Fork the driver of `connection`, and give its pid.

    `inherited` are descriptors it closes. The caller closes its own copies of the connection's, or exits.
    """
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, connection.signals)
        return pid
    status = 1
    try:
        detach(inherited)
        status = run(connection, timeout_s=timeout_s)
    finally:
        os._exit(status)


def run(connection: Connection, *, timeout_s: float, debug: bool = False, detached: bool = True) -> int:
    """Serve until unmounted: the exit status. A driver that fails leaves no dead mount behind."""
    log_to(detached=detached, debug=debug)
    union, fd, target, _ = connection
    try:
        from unionfs.fuse.serve import serve

        volatile.mark(union)
        serve(union, fd, target, timeout_s=timeout_s, debug=debug)
        volatile.settle(union)
    except BaseException:
        import logging

        logging.getLogger("pyunionfs").exception("the driver of %s failed", os.fsdecode(target))
        _unmount_quietly(target)
        return 1
    finally:
        union.close()
    return 0


def detach(inherited: Iterable[int]) -> None:
    """Leave session, working directory, stdio and the descriptors `inherited` of whoever started this process."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    for fd in inherited:
        _close_quietly(fd)


def log_to(*, detached: bool, debug: bool = False) -> None:
    """Let bugs and failures be written to stderr, or of a detached driver to the system log where there is one."""
    import logging
    import logging.handlers

    handler: logging.Handler = logging.StreamHandler()
    if detached:
        if not os.path.exists(_SYSLOG):
            return
        try:
            handler = logging.handlers.SysLogHandler(_SYSLOG, logging.handlers.SysLogHandler.LOG_DAEMON)
        except OSError:
            return
    handler.setFormatter(logging.Formatter("pyunionfs[%(process)d]: %(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.WARNING)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False  # the one that listed the folder
    return True


def _close_quietly(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return


def _unmount_quietly(target: bytes) -> None:
    try:
        kernel.unmount(target)
    except OSError:
        return
