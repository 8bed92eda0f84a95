"""A driver process: forked once the filesystem is mounted, it serves it and holds nothing of whoever started it.

A process that waits for the end of our stderr, or of a pipe it leaked to us, must not wait for the unmount.
"""

import os
import signal
from collections.abc import Iterable

from unionfs.core import volatile
from unionfs.fuse import kernel
from unionfs.fuse.log import log
from unionfs.fuse.mounting import Connection, Settings
from unionfs.linux.descriptors import close_all_but, point_at_null

_SYSLOG = "/dev/log"


def fork_driver(connection: Connection, settings: Settings) -> int:
    """Fork the driver of `connection`, and give its pid. The caller closes its own copies of what that holds."""
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, connection.signals)
        return pid
    status = 1
    try:
        detach(keep=[connection.fd, *connection.union.descriptors])
        status = run(connection, settings)
    finally:
        os._exit(status)


def run(connection: Connection, settings: Settings, *, debug: bool = False, detached: bool = True) -> int:
    """Serve until unmounted: the exit status. A driver that fails leaves no dead mount behind."""
    log_to(detached=detached, debug=debug)
    union, fd, target, _ = connection
    try:
        from unionfs.fuse.serve import serve

        volatile.mark(union)
        serve(
            union,
            fd,
            target,
            timeout_s=settings.timeout_s,
            debug=debug,
            binding=settings.binding,
            lower_io=settings.lower_io,
        )
        volatile.settle(union)
    except BaseException:
        log().exception("the driver of %s failed", os.fsdecode(target))
        _unmount_quietly(target)
        return 1
    finally:
        union.close()
    return 0


def detach(keep: Iterable[int]) -> None:
    """Leave session, working directory, stdio and all descriptors but `keep` of whoever started this process."""
    os.setsid()
    os.chdir("/")
    point_at_null(0, 1, 2)
    close_all_but([0, 1, 2, *keep])


def log_to(*, detached: bool, debug: bool = False) -> None:
    """Let bugs and failures be written to stderr, or of a detached driver to the system log where there is one."""
    if detached and not os.path.exists(_SYSLOG):
        return
    import logging
    import logging.handlers

    handler: logging.Handler = logging.StreamHandler()
    if detached:
        try:
            handler = logging.handlers.SysLogHandler(_SYSLOG, logging.handlers.SysLogHandler.LOG_DAEMON)
        except OSError:
            return
    handler.setFormatter(logging.Formatter("pyunionfs[%(process)d]: %(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.INFO)


def _unmount_quietly(target: bytes) -> None:
    try:
        kernel.unmount(target)
    except OSError:
        return
