"""Serving a mounted connection until it ends: the work of a driver process, done by one of two bindings.

Which one is imported here and not before: pyfuse3's takes 0.2 s.
"""

import gc
import os
import resource

from unionfs.core.union import Union
from unionfs.fuse import kernel
from unionfs.fuse.mounting import Binding, LowerIo

_COLLECT_AFTER = 20_000
"""Objects made, less those dropped, after which garbage is looked for: nodes are many and no garbage (a walk of
15,000 is 10 % quicker than with Python's 700)."""


def serve(
    union: Union,
    fd: int,
    target: bytes | None = None,
    *,
    timeout_s: float = kernel.FOREVER_S,
    debug: bool = False,
    binding: Binding = "auto",
    lower_io: LowerIo = "auto",
    idmap: bool = True,
) -> None:
    """Answer the requests that come from `fd`; return when the filesystem was unmounted, and `fd` is closed.

    On SIGTERM, SIGINT or SIGHUP `target`, the absolute path where it is mounted, is unmounted, in use or not; without
    it the connection is dropped. `timeout_s` is how long the kernel may keep names and attributes. With `debug` every
    request is logged. `lower_io` says how files of lower layers are read, as far as the binding knows choices.
    `idmap` allows the mount to be id-mapped; who mounts must be of our pid namespace then, as callers are looked up.
    Call it in the main thread of a process that does nothing else: it changes the umask and the limit of open files.
    """
    os.umask(0)  # modes are the caller's
    _raise_file_limit()
    gc.set_threshold(_COLLECT_AFTER)
    if binding == "pyfuse3":
        from unionfs.fuse import pyfuse3_serve

        pyfuse3_serve.serve(union, fd, target, timeout_s=timeout_s, debug=debug)
    else:
        from unionfs.fuse.direct import server

        server.serve(union, fd, target, timeout_s=timeout_s, debug=debug, lower_io=lower_io, idmap=idmap)


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
