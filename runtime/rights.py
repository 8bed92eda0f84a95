"""Who may make containers: root of this machine, or an ordinary user, but not root of a user namespace.

The last can neither give files to everybody nor make device nodes, as root's containers need it, and what an ordinary
user's containers have instead begins with a namespace of their own.
"""

import os

from runtime.errors import Refusal

_FIRST_USER_NAMESPACE = 0xEFFFFFFD
"""Kernel: include/linux/proc_ns.h, PROC_USER_INIT_INO."""
WAY_OUT = "run pyunion as an ordinary user there, or as root outside of it"


def is_root_of_a_namespace() -> bool:
    """Whether we are root, but only of a user namespace that isn't the first."""
    return os.geteuid() == 0 and os.stat("/proc/self/ns/user").st_ino != _FIRST_USER_NAMESPACE


def refuse_root_of_a_namespace() -> None:
    """Raises Refusal."""
    if is_root_of_a_namespace():
        raise Refusal(f"root of a user namespace can't make containers and unpack images: {WAY_OUT}")
