"""The verb rename, with its flags.

What is renamed is in the upper first. A directory with lower content takes a redirect along, which tells where that
content is, or is detached from the layers below; one without is made opaque where lower content of the new name could
merge into it. A whiteout takes the old name's place at the same moment. Kernel: fs/overlayfs/dir.c:ovl_rename().
"""

import errno
import os
from functools import partial

from unionfs.core import checks, copyup, holding, immutable, redirect, tree, whiteouts
from unionfs.core.detach import detach, forget_lower
from unionfs.core.inodes import Dir, File, Node, RealId, real_id
from unionfs.core.union import Union
from unionfs.core.work import Steps
from unionfs.linux import fsops
from unionfs.linux.at import At
from unionfs.linux.fsops import RENAME_EXCHANGE, RENAME_NOREPLACE


def rename(
    union: Union, parent: Node, name: bytes, newparent: Node, newname: bytes, flags: int = 0
) -> Steps[None]:
    """Rename `name` to `newname`, atomically; with RENAME_EXCHANGE swap them, with RENAME_NOREPLACE spare a target.

    Raises OSError: EINVAL (flags; into its own subtree), EEXIST, ENOENT, ENOTEMPTY, EISDIR, ENOTDIR, EPERM, EROFS,
    EXDEV (a directory with lower content, and redirects are off or can't be stored).
    """
    if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == RENAME_NOREPLACE | RENAME_EXCHANGE:
        raise _error(errno.EINVAL, name)
    source, target = checks.directory(parent), checks.directory(newparent)
    checks.writable(union)
    if union.dialect.is_reserved(newname):
        raise _error(errno.EPERM, newname)
    node, other = _check(union, source, name, target, newname, flags)
    if node is other:
        return
    yield from _to_upper(union, node)
    if flags & RENAME_EXCHANGE and other is not None:
        yield from _to_upper(union, other)
    again = _check(union, source, name, target, newname, flags)
    if again[0] is not node or again[1] is not other:  # somebody renamed while data was copied
        raise _error(errno.ESTALE, name)
    move = _Move(union, source, name, node, target, newname, other)
    if flags & RENAME_EXCHANGE:
        move.exchange()
    else:
        move.replace()


def _error(code: int, name: bytes) -> OSError:
    return OSError(code, os.strerror(code), name)


def _check(
    union: Union, source: Dir, name: bytes, target: Dir, newname: bytes, flags: int
) -> tuple[Node, Node | None]:
    """What the two names mean, and that renaming is allowed."""
    node = tree.child(union, source, name)
    other = tree.peek(union, target, newname)
    if target.dead:
        raise _error(errno.ENOENT, newname)
    if isinstance(node, Dir) and target.is_inside(node):
        raise _error(errno.EINVAL, name)
    if flags & RENAME_EXCHANGE:
        if other is None:
            raise _error(errno.ENOENT, newname)
        if isinstance(other, Dir) and source.is_inside(other):
            raise _error(errno.EINVAL, newname)
    elif other is not None and other is not node:
        if flags & RENAME_NOREPLACE:
            raise _error(errno.EEXIST, newname)
        if isinstance(other, Dir):
            if not isinstance(node, Dir):
                raise _error(errno.EISDIR, newname)
            if len(tree.listing(union, other)):
                raise _error(errno.ENOTEMPTY, newname)
        elif isinstance(node, Dir):
            raise _error(errno.ENOTDIR, newname)
    for changed in (source, node):
        immutable.check(union, changed)
    immutable.check(union, target, appends=other is None)
    if other is not None:
        immutable.check(union, other)
    if isinstance(node, Dir):
        _check_redirect(union, node)
    if flags & RENAME_EXCHANGE and isinstance(other, Dir):
        _check_redirect(union, other)
    return node, other


def _check_redirect(union: Union, node: Dir) -> None:
    if not union.options.redirect_dir and (node.is_merged or node.upper is None):
        raise _error(errno.EXDEV, node.name)


def _to_upper(union: Union, node: Node) -> Steps[None]:
    if isinstance(node, File):
        node.opens += 1  # it may lose its names while it is copied
        try:
            yield from copyup.upper_file(union, node, data=not node.names)
        finally:
            node.opens -= 1
    elif isinstance(node, Dir):
        copyup.upper_dir(union, node)
        if node.is_merged and (union.options.rename == "copy" or not union.dialect.prefix):
            yield from detach(union, node)


class _Move:
    """One rename of objects that are in the upper; nothing of it is slow, so nothing changes meanwhile."""

    def __init__(
        self, union: Union, source: Dir, name: bytes, node: Node, target: Dir, newname: bytes, other: Node | None
    ) -> None:
        self.union = union
        self.source, self.name, self.node = source, name, node
        self.target, self.newname, self.other = target, newname, other
        source_part, target_part = copyup.upper_dir(union, source), copyup.upper_dir(union, target)
        for directory, called, moved in ((source, name, node), (target, newname, other)):
            if isinstance(moved, File) and moved.lower is None:
                copyup.upper_name(union, directory, called, moved)
        if isinstance(other, File):
            copyup.save_nlink(union, other)
        copyup.mark_impure(union, target_part)
        self.old = At(union.fds.fd(source_part), name)
        self.new = At(union.fds.fd(target_part), newname)

    def exchange(self) -> None:
        other = self.other
        assert other is not None
        copyup.mark_impure(self.union, copyup.upper_dir(self.union, self.source))
        self._prepare(self.node, self.source, self.name, self.target)
        self._prepare(other, self.target, self.newname, self.source)
        fsops.renameat2(self.old.dirfd, self.name, self.new.dirfd, self.newname, RENAME_EXCHANGE)
        for directory, name in ((self.source, self.name), (self.target, self.newname)):
            del directory.children[name]
        self._settle(self.node, self.source, self.name, self.target, self.newname)
        self._settle(other, self.target, self.newname, self.source, self.name)

    def replace(self) -> None:
        union, other = self.union, self.other
        self._prepare(self.node, self.source, self.name, self.target)
        whiteout = tree.has_lower(union, self.source, self.name)
        held = holding.hold(union, other) if other is not None else -1
        try:
            hollow = self._hollow_target()
            if hollow is not None and union.primitives.exchange and union.dialect.prefix:
                self._empty(hollow)
                hollow = None
            whiteouts.rename(
                union,
                self.source,
                self.name,
                self.target,
                self.newname,
                whiteout=whiteout,
                over_dir=hollow is not None,
            )
        except OSError:
            if held >= 0:
                os.close(held)
            raise
        if isinstance(other, File):
            if self.target.index is not None:
                self.target.index.remove(self.newname)
            holding.name_removed(union, other, self.target, self.newname, held)
        elif isinstance(other, Dir):
            if self.target.index is not None:
                self.target.index.remove(self.newname)
            holding.bury(union, other)
        del self.source.children[self.name]
        if self.source.index is not None:
            self.source.index.remove(self.name)
        self._settle(self.node, self.source, self.name, self.target, self.newname)

    def _hollow_target(self) -> Dir | None:
        """The directory of the upper that is at the new place, if there are whiteouts in it."""
        if not isinstance(self.other, Dir) or self.other.upper is None:
            return None
        return self.other if os.listdir(At(self.new.dirfd, self.newname + b"/.").path) else None

    def _empty(self, hollow: Dir) -> None:
        """Put a directory without whiteouts in the place of the upper's that is to be replaced: it stays empty."""
        workdir = checks.writable(self.union)
        name = workdir.name()
        os.mkdir(name, 0o700, dir_fd=workdir.temporary)
        try:
            fresh = workdir.temp(name)
            copyup.copy_metadata(self.union, self.new, self.new.stat(), fresh)
            copyup.keep_origin(self.union, self.new, fresh)
            self.union.dialect.set_opaque(fresh)
            real = real_id(fresh.stat())
            exchange = partial(fsops.renameat2, fresh.dirfd, name, self.new.dirfd, self.newname, RENAME_EXCHANGE)
            fresh.despite_mode(lambda: self.new.despite_mode(exchange))
            self._renew(hollow, real)
        finally:
            workdir.discard(name)

    def _renew(self, node: Dir, real: RealId) -> None:
        """Let memory know that the upper's share of `node` is another directory, opaque: renaming may fail yet."""
        union, upper = self.union, node.upper
        assert upper is not None
        node.real = real
        forget_lower(union, node)
        upper.impure = False
        union.fds.drop(upper)
        holding.hold(union, node)
        union.changed.append(node)

    def _prepare(self, node: Node, source: Dir, name: bytes, target: Dir) -> None:
        """Let `node` keep its own lower content when it leaves `source`, and take no other in `target`."""
        if isinstance(node, Dir):
            if node.is_merged:
                redirect.leave(self.union, node, source, name, stays=source is target)
            elif target.is_merged:
                self.union.dialect.set_opaque(At(self.union.fds.fd(node.parts[0])))
        elif isinstance(node, File) and node.data is not None:
            redirect.leave(self.union, node, source, name, stays=source is target and node.index_name is None)

    def _settle(self, node: Node, source: Dir, name: bytes, target: Dir, newname: bytes) -> None:
        """Let memory know that `node` moved."""
        if target.index is not None:
            target.index.set_upper(newname)
        if isinstance(node, Dir):
            node.parent, node.name = target, newname
            target.children[newname] = node
            if source is not target:
                self.union.moved.append(node)
        elif isinstance(node, File):
            holding.drop_name(node, source, name)
            holding.add_name(node, target, newname)
