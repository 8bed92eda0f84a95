"""How the kernel calls our nodes: by their inode number, as long as nothing speaks against it.

A nodeid is the kernel's inode, with its page cache and its way of being open; the inode number is what users see. A
node whose file is passed through to a lower layer, and is then copied up, needs a second one: who has it open keeps
the first, and whoever looks the name up from then on gets the second, under the same number.
"""

import errno
import os

from unionfs.core.inodes import Node
from unionfs.core.ops import lookup
from unionfs.core.union import Union
from unionfs.fuse.direct import protocol


class _Alias:
    """A nodeid that isn't the inode number."""

    __slots__ = ("lookups", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lookups = 0
        """The share of this nodeid in those of the node."""


class NodeIds:
    """The nodeids of one mount, and how often the kernel was told of each."""

    def __init__(self, union: Union) -> None:
        self._union = union
        self._inodes = union.inodes
        self._aliases: dict[int, _Alias] = {}
        self._current: dict[Node, int] = {}
        """Of nodes whose nodeid isn't their number."""

    def node(self, nodeid: int) -> Node:
        """Raises OSError: ESTALE."""
        if nodeid == protocol.ROOT_ID:
            return self._union.root
        node = self._inodes.get(nodeid)
        if node is not None:
            return node
        if nodeid not in self._aliases:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._aliases[nodeid].node

    def of(self, node: Node) -> int:
        """What the kernel is told now of `node`."""
        if node is self._union.root:
            return protocol.ROOT_ID
        return self._current.get(node, node.ino) if self._current else node.ino

    def all_of(self, node: Node) -> set[int]:
        """Whatever it may have been told."""
        if not self._aliases or node is self._union.root:
            return {self.of(node)}
        return {node.ino, *(nodeid for nodeid, alias in self._aliases.items() if alias.node is node)}

    def tell(self, node: Node) -> int:
        """The nodeid for a reply that tells the kernel of a name: it will forget it one day."""
        node.lookups += 1
        nodeid = self.of(node)
        if nodeid in self._aliases:
            self._aliases[nodeid].lookups += 1
        return nodeid

    def forget(self, nodeid: int, count: int) -> None:
        """The kernel has dropped `count` of its references. Whatever it says, the root stays."""
        if nodeid == protocol.ROOT_ID:
            return
        alias = self._aliases.get(nodeid)
        node = self._inodes.get(nodeid) if alias is None else alias.node
        if node is None or node is self._union.root:
            return
        if alias is not None:
            alias.lookups -= count
        lookup.forget(self._union, node, count)
        if self._aliases:
            self._tidy(node)

    def replace(self, node: Node) -> None:
        """From now on tell the kernel of `node` under a new nodeid."""
        nodeid = self._inodes.unique()
        self._aliases[nodeid] = _Alias(node)
        self._current[node] = nodeid

    def _tidy(self, node: Node) -> None:
        """Drop nodeids that mean nothing any more.

        The present one stays as long as the node does, though the kernel has forgotten it: it drops what a lookup
        gave it when it finds that a name means another nodeid, and asks again.
        """
        gone = self._inodes.get(node.ino) is not node
        for nodeid in [nodeid for nodeid, alias in self._aliases.items() if alias.node is node]:
            if gone or (self._aliases[nodeid].lookups <= 0 and self._current[node] != nodeid):
                del self._aliases[nodeid]
        if gone:
            self._current.pop(node, None)
