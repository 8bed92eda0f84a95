"""The verb behind O_TMPFILE: a file without a name, which link may give it."""

import os
import stat

from unionfs.core import checks, copyup, holding, immutable, objects
from unionfs.core.inodes import File, Handle, Node, real_id
from unionfs.core.model import Caller, StatLike
from unionfs.core.union import Union
from unionfs.linux.at import At

_PASSED_ON = os.O_ACCMODE | os.O_EXCL | os.O_SYNC | os.O_DSYNC


def tmpfile(union: Union, parent: Node, mode: int, flags: int, caller: Caller) -> tuple[int, tuple[Node, StatLike]]:
    """Make and open a file in the upper's share of `parent`: (handle, (node, attributes)).

    Raises OSError: EROFS, ENOTDIR, ENOENT (the directory was removed), EOPNOTSUPP (the upper has no such files).
    """
    directory = checks.directory(parent)
    checks.writable(union)
    if directory.dead:
        raise checks.no_such_name(directory.name)
    immutable.check(union, directory, appends=True)
    place = At(union.fds.fd(copyup.upper_dir(union, directory)), b".")
    how = flags & _PASSED_ON | os.O_TMPFILE  # O_NOFOLLOW, which At adds, means nothing here
    fd = union.creator.run_as(caller, lambda: place.open(how, stat.S_IMODE(mode)))
    try:
        objects.give_new(union, At(fd), place, caller)
        held = At(fd).open(os.O_PATH)
    except OSError:
        os.close(fd)
        raise
    st = os.fstat(fd)
    real = real_id(st)
    ino = union.inodes.number(real)
    node = File(union.inodes.unique() if union.inodes.get(ino) is not None else ino, real, stat.S_IFREG)
    node.fd = held
    node.protection = 0
    union.inodes.add(node)
    handle = Handle(fd, node, flags, is_upper=True, privileged=caller.uid == 0)
    return holding.add_handle(union, handle), (node, st if union.ids is None else objects.shown(union, node, st))
