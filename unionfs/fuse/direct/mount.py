"""What the handlers of one mount share."""

import errno
import os
from typing import Protocol

from unionfs.core.inodes import File, Handle, Node
from unionfs.core.model import Caller, StatLike
from unionfs.core.ops import files
from unionfs.core.union import Union
from unionfs.core.work import Steps
from unionfs.fuse import mounting
from unionfs.fuse.direct import protocol, statistics
from unionfs.fuse.direct.bulk import Bulk
from unionfs.fuse.direct.nodeids import NodeIds
from unionfs.fuse.direct.passthrough import Passthrough
from unionfs.fuse.direct.preload import Preload, Store
from unionfs.fuse.direct.protocol import Init
from unionfs.fuse.direct.replies import Replies
from unionfs.fuse.direct.request import Request
from unionfs.fuse.direct.session import Session
from unionfs.fuse.direct.tasks import Answer

_PRIVILEGED = Caller(0, 0)


class Mount:
    """One mount: the union, what was agreed with the kernel, and where nodes and handles are found."""

    def __init__(
        self, union: Union, session: Session, passthrough: Passthrough, store: Store, timeout_s: float
    ) -> None:
        self.union = union
        self.features: Init = session.features
        self.passthrough = passthrough
        self.preload = Preload(union, store, gives=not passthrough.shared)
        self.bulk: Bulk | None = None
        """Who answers large reads, if they aren't to be answered in turn."""
        self.replies = Replies(timeout_s)
        self.nodeids = NodeIds(union)
        self.node = self.nodeids.node
        self.replaced: list[File] = []
        """Files that have got a new nodeid: the kernel is to look their names up again."""
        self.refuses_sync = union.options.volatile
        self.kills_by_flag = Init.HANDLE_KILLPRIV_V2 in session.features
        """Whether the kernel says which writes take set-id bits away."""
        self.has_labels = os.path.exists(mounting.SELINUX)
        self.requests = statistics.new_counts()
        """How many came, by opcode."""

    def writer(self, request: Request) -> Caller:
        """Who asks for what may take set-id bits away: if the kernel says when it does, one who never does."""
        return _PRIVILEGED if self.kills_by_flag else request.caller()

    def handle(self, fh: int) -> Handle:
        """Raises OSError: EBADF."""
        handle = self.union.handles.get(fh)
        if handle is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return handle

    def opened(self, fh: int) -> Handle:
        """As `handle`, its descriptor open. Raises OSError of the layer."""
        handle = self.handle(fh)
        if handle.fd < 0:
            files.open_late(self.union, handle)
        return handle

    def told(self, found: tuple[Node, StatLike]) -> bytes:
        """An entry for a reply that tells the kernel of a name: it will forget the node one day."""
        node, st = found
        return self.replies.entry(self.nodeids.tell(node), node, st)


class Handler(Protocol):
    """Carries out one kind of request.

    What it returns stands behind out_header in the reply; a generator gives that in the end, and yields what is slow.
    None: there is no reply. What it raises becomes the errno of the reply.
    """

    def __call__(self, mount: Mount, request: Request, /) -> "Answer | Steps[Answer] | None": ...


Table = dict[protocol.Opcode, Handler]

EMPTY = b""
"""A success that has nothing to say."""


def refuse_for_ever() -> OSError:
    """ENOSYS: the kernel answers all requests of this kind itself from now on."""
    return OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
