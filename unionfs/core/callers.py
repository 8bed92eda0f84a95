"""Creating objects as the process that asked for them, so that the layer's filesystem applies owner, setgid
directories, default ACLs and quota in the one system call that creates.

Linux keeps a filesystem identity for each thread. Leaving uid 0 drops the capabilities over files; they are raised
again at once, so that permissions (already checked by the kernel above us) aren't checked a second time against the
layer. fs/overlayfs does the same in ovl_create_or_link().
"""

import os
from collections.abc import Callable
from typing import TypeVar

from unionfs.core.ids import Ids
from unionfs.core.model import Caller
from unionfs.linux import capset, fsops

T = TypeVar("T")

_CAP_SETGID = 6
_CAP_SETUID = 7


class Creator:
    """The driver's own identity, to which it returns; made in the process and thread that runs the verbs.

    Where ids are mapped it takes the caller's in the upper, and stays itself where the upper keeps owners in an xattr.
    """

    def __init__(self, ids: Ids | None) -> None:
        self._ids = ids
        self._pid = 0

    def _look(self) -> None:
        self._pid = os.getpid()
        self._caps = capset.capget()
        self._own = (os.geteuid(), os.getegid())
        needed = 1 << _CAP_SETUID | 1 << _CAP_SETGID
        self._can_switch = self._caps.effective & needed == needed

    def run_as(self, caller: Caller, make: Callable[[], T]) -> T:
        """Call `make`: what it creates belongs to `caller`, whose umask counts where no default ACL takes its place.

        Without the privilege to switch it belongs to the driver.
        """
        umask = os.umask(caller.umask)
        try:
            return self._switched(caller, make)
        finally:
            os.umask(umask)

    def _switched(self, caller: Caller, make: Callable[[], T]) -> T:
        if self._pid != os.getpid():
            self._look()
        if self._ids is not None:
            caller = self._ids.creator(caller)
        if (caller.uid, caller.gid) == self._own or not self._can_switch or (self._ids is not None and self._ids.key):
            return make()
        fsops.setfsgid(caller.gid)
        try:
            fsops.setfsuid(caller.uid)
            capset.capset(self._caps)
            return make()
        finally:
            fsops.setfsuid(self._own[0])
            fsops.setfsgid(self._own[1])
            capset.capset(self._caps)
