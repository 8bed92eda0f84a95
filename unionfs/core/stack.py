"""Which object a name means: the one function that decides what hides what, and which directories merge.

Kernel: fs/overlayfs/namei.c:ovl_lookup().
"""

import errno
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from unionfs.core.dialect import NO_MARKS, REDIRECT, Dialect, Marks
from unionfs.core.layer import DirFds, DirPart
from unionfs.linux.at import At


class Found(NamedTuple):
    """What a name means in a stack of layers."""

    st: os.stat_result
    """Of the topmost object."""
    part: DirPart
    """The directory of the layer that holds the topmost object, under the name asked for."""
    merged: tuple[DirPart, ...]
    """If it is a directory: its share in each layer, uppermost first; of the upper's, only the layer counts."""
    data: tuple[DirPart, bytes] | None = None
    """Where the data of a file is, if the topmost object holds metadata alone."""


class _Step(NamedTuple):
    """A name followed in one layer."""

    st: os.stat_result | None
    part: DirPart
    """The directory that the last component is in."""
    marks: Marks | None
    """Of the object itself, where they were read."""
    below: Sequence[bytes]
    """The components to follow in the layers below, once redirects are applied..."""
    from_root: bool
    """...and whether they start at the root there."""
    stop: bool
    """Nothing below counts."""
    lacks_data: bool = False
    """A file whose data is in a layer below."""


def find(
    fds: DirFds,
    dialect: Dialect,
    parts: Sequence[DirPart],
    roots: Sequence[DirPart],
    name: bytes,
    holding: Sequence[DirPart] | None = None,
) -> Found | None:
    """Look up `name` in the directory made of `parts`; `roots` are the layers' shares in the root.

    `holding` are those of `parts` that have the name, where that is known: the others aren't asked for it.
    None: no such name. Raises OSError of the layers (EIO, EACCES, ENAMETOOLONG, …); EIO if a file's data is missing.
    """
    if holding is None:
        holding = parts
    if not holding:
        return None
    first = holding[0]
    fd = fds.fd(first)
    st = _stat(fd, name)
    while st is None:
        holding = holding[1:]
        if not holding or dialect.is_hidden(fd, name):
            return None
        first = holding[0]
        fd = fds.fd(first)
        st = _stat(fd, name)
    if _is_plain(dialect, first, fd, name, st):
        return Found(st, first, ())
    below: Sequence[bytes] = (name,)
    top: tuple[os.stat_result, DirPart] | None = None
    merged: list[DirPart] = []
    data: tuple[DirPart, bytes] | None = None
    wants_data = False
    queue = list(holding)
    while queue:
        part = queue.pop(0)
        step = _follow(fds, dialect, part, below, more=bool(queue))
        if step.st is not None:
            if stat.S_ISDIR(step.st.st_mode):
                if wants_data:
                    break
                merged.append(DirPart(part.layer, _join(step.part.path, below[-1]), step.marks))
            elif merged or (wants_data and not stat.S_ISREG(step.st.st_mode)):
                break
            elif wants_data and not step.lacks_data:
                data = step.part, below[-1]
            if top is None:
                top = step.st, step.part
                wants_data = step.lacks_data
        if step.stop:
            break
        if step.from_root:
            parts = roots
        if step.from_root or step.below != below:
            below = step.below
            queue = [other for other in parts if other.layer.index > part.layer.index]
    if top is None:
        return None
    if wants_data and data is None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), name)
    return Found(*top, tuple(merged), data)


def _is_plain(dialect: Dialect, part: DirPart, fd: int, name: bytes, st: os.stat_result) -> bool:
    """Whether `name` in `part`, open as `fd`, says all: it is a file with its data, as most of an image are."""
    if stat.S_ISDIR(st.st_mode):
        return False
    if st.st_size and st.st_blocks and not part.marks(fd, dialect).impure:
        return True
    place = At(fd, name)
    return not part.is_whiteout(place, st, dialect) and not part.lacks_data(place, st, dialect)


def _follow(fds: DirFds, dialect: Dialect, part: DirPart, names: Sequence[bytes], *, more: bool) -> _Step:
    """Follow `names` from the directory `part` of one layer; `more`: layers below it are still to be asked.

    Kernel: ovl_lookup_layer(), ovl_lookup_single().
    """
    below = names
    from_root = stop = False
    is_bottom = part.layer.is_bottom
    last = len(names) - 1
    for depth, name in enumerate(names):
        fd = fds.fd(part)
        place = At(fd, name)
        st = _stat(fd, name)
        if st is None:
            stop = stop or (more and dialect.is_hidden(fd, name))
            return _Step(None, part, None, below, from_root, stop)
        if not stat.S_ISDIR(st.st_mode):
            if depth < last or part.is_whiteout(place, st, dialect):
                return _Step(None, part, None, below, from_root, True)
            if not part.lacks_data(place, st, dialect):
                return _Step(st, part, None, below, from_root, True)
            redirect = dialect.get(place, REDIRECT)
            if redirect is not None:
                below = _redirected(below, last - depth, redirect)
                if redirect.startswith(b"/"):
                    from_root, stop = True, False
            return _Step(st, part, None, below, from_root, stop, lacks_data=True)
        marks = NO_MARKS if is_bottom else dialect.marks(place)
        if marks.opaque or (
            (more or marks.redirect is not None) and (dialect.is_hidden(fd, name) or dialect.is_emptied(fd, name))
        ):
            stop = True
        elif marks.redirect is not None:
            below = _redirected(below, last - depth, marks.redirect)
            if marks.redirect.startswith(b"/"):  # it leads out of whatever was opaque on the way here
                from_root, stop = True, False
        if depth == last:
            return _Step(st, part, None if is_bottom else marks, below, from_root, stop)
        part = DirPart(part.layer, _join(part.path, name), marks)
    raise ValueError("no names to follow")


def _redirected(names: Sequence[bytes], after: int, redirect: bytes) -> Sequence[bytes]:
    """The names to follow below, if the one before the last `after` has a redirect."""
    at = len(names) - after - 1
    if redirect.startswith(b"/"):
        return (*redirect.strip(b"/").split(b"/"), *names[at + 1 :])
    return (*names[:at], redirect, *names[at + 1 :])


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _stat(fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
