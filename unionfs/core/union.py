"""The state of one union. Behaviour is in the modules that take it as their first argument."""

import os
from collections.abc import Callable
from itertools import count

from unionfs.core.callers import Creator
from unionfs.core.dialect import TRUSTED, Dialect
from unionfs.core.ids import Ids
from unionfs.core.inodes import Dir, DirHandle, File, Handle, InodeTable, Node
from unionfs.core.layer import DirFds, Layer
from unionfs.core.options import UnionOptions
from unionfs.core.origin import Origins
from unionfs.core.primitives import Primitives
from unionfs.core.workdir import Workdir


class Union:
    """An open union. Made by `open_union`; used by one thread at a time, the same from the first verb on."""

    __slots__ = (
        "changed",
        "creator",
        "dialect",
        "dir_handles",
        "fds",
        "handles",
        "ids",
        "index",
        "inodes",
        "layers",
        "locks",
        "metacopy",
        "moved",
        "name_max",
        "new_handle",
        "options",
        "origins",
        "primitives",
        "put_away",
        "root",
        "workdir",
    )

    def __init__(
        self,
        options: UnionOptions,
        layers: tuple[Layer, ...],
        dialect: Dialect,
        fds: DirFds,
        origins: Origins,
        inodes: InodeTable,
        root: Dir,
        name_max: int,
        workdir: Workdir | None,
        index: int | None,
        primitives: Primitives,
        ids: Ids | None,
        locks: tuple[int, ...],
    ) -> None:
        self.options = options
        self.layers = layers
        """Uppermost first, the upper included. Never changes."""
        self.dialect = dialect
        self.fds = fds
        self.origins = origins
        self.inodes = inodes
        self.root = root
        self.name_max = name_max
        """Bytes in the longest name."""
        self.workdir = workdir
        """None: read-only."""
        self.index = index
        """Descriptor of the index of hard links: that of `workdir`, or of another's; None: nothing is in it."""
        self.primitives = primitives
        self.ids = ids
        """None: owners and modes are shown as the layers have them."""
        self.locks = locks
        """Descriptors whose flock keeps upper and workdir ours."""
        self.metacopy = options.metacopy and options.redirect_dir and dialect.prefix == TRUSTED
        """Whether copy-up leaves data in the lower layer where metadata will do."""
        self.creator = Creator(ids)
        self.changed: list[Node] = []
        """Nodes whose attributes a verb changed that wasn't about them: copy-up moves ctime, blocks and a directory's
        links. A carrier that lets its client cache attributes tells it, and empties the list."""
        self.moved: list[Dir] = []
        """Directories that have got another parent, which `..` of their listings means now: as `changed`, for a carrier
        that lets its client cache listings."""
        self.put_away: Callable[[int], None] = os.close
        """Closes the last descriptor of what was deleted: its filesystem frees it now, which may take long. A carrier
        with threads has one of them do it."""
        self.handles: dict[int, Handle] = {}
        self.dir_handles: dict[int, DirHandle] = {}
        self.new_handle = count(1)

    @property
    def read_only(self) -> bool:
        return self.workdir is None

    @property
    def descriptors(self) -> list[int]:
        """Everything it has open before the first verb: what a process forked to serve it must keep."""
        open_dirs = [part.fd for part in self.root.parts if part.fd >= 0]
        index = () if self.index is None else (self.index,)
        workdir = self.workdir.descriptors if self.workdir is not None else index
        return [*(layer.root for layer in self.layers), *self.locks, *workdir, *self.origins.descriptors, *open_dirs]

    def close(self) -> None:
        """Close every descriptor. Another process that was forked after opening can go on with the union."""
        for handle in self.handles.values():
            if handle.fd >= 0:
                os.close(handle.fd)
        self.handles.clear()
        for node in self.inodes:
            if isinstance(node, File) and node.fd >= 0:
                os.close(node.fd)
                node.fd = -1
            if isinstance(node, Dir) and node.dead:
                for part in node.parts:
                    self.fds.drop(part)
        self.fds.close()
        if self.workdir is not None:
            self.workdir.close()
        elif self.index is not None:
            os.close(self.index)
        self.origins.close()
        for fd in (*self.locks, *(layer.root for layer in self.layers)):
            os.close(fd)
        self.layers = ()
        self.locks = ()

    def check(self) -> None:
        """Assert what must hold between two verbs; for tests."""
        for node in self.inodes:
            assert self.inodes[node.ino] is node
            if isinstance(node, Dir):
                _check_dir(node)
            elif isinstance(node, File):
                for parent, name in node.names:
                    assert parent.children.get(name) is node, (name, node)
                assert node.names or node.fd >= 0 or node.lower or node.index_name, node
                assert node.lower is None or all(not h.is_upper for h in node.handles)
        for fh, handle in self.handles.items():
            assert handle in handle.node.handles, fh


def _check_dir(node: Dir) -> None:
    layers = [part.layer.index for part in node.parts]
    assert layers
    assert layers == sorted(set(layers))
    if node.parent is not None and not node.dead:
        assert node.parent.children.get(node.name) is node, node.name
    for name, child in node.children.items():
        if isinstance(child, Dir):
            assert (child.parent, child.name) == (node, name)
        elif isinstance(child, File):
            assert (node, name) in child.names
        if node.index is not None:
            assert node.index.get(name) is not None, name
