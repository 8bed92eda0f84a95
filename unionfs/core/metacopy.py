"""Files of the upper that hold metadata alone, their data being in a lower layer still, until the first write.

Kernel: Documentation/filesystems/overlayfs.rst, "Metadata only copy up"; fs/overlayfs/copy_up.c.
"""

import errno
import os
from contextlib import suppress

from unionfs.core import objects
from unionfs.core.dialect import METACOPY, REDIRECT
from unionfs.core.inodes import CopyUp, File
from unionfs.core.privileges import CAPABILITY
from unionfs.core.union import Union
from unionfs.core.work import Work
from unionfs.linux.at import At
from unionfs.linux.copyrange import copy_data


def mark(union: Union, temporary: At, size: int) -> None:
    """Make the empty file `temporary` one of `size` bytes whose data is below."""
    temporary.truncate(size)
    union.dialect.set(temporary, METACOPY, b"")


def has_links(union: Union, node: File) -> bool:
    """Whether the upper's `node` has other links than one name, so that no whole copy can take its place."""
    return not node.names or node.index_name is not None or objects.locate(union, node).stat().st_nlink > 1


def fill(union: Union, node: File) -> CopyUp:
    """The copying of data into the upper's `node` in place.

    Until `filled` the mark stays, so a crash leaves the lower data visible, but perhaps new times and no capability.
    Kernel: ovl_copy_up_meta_inode_data().
    """
    place = objects.locate(union, node)
    st = place.stat()
    size = st.st_size
    reader = objects.locate_data(union, node).open(os.O_RDONLY)
    try:
        writer = place.open(os.O_WRONLY)
    except OSError:
        os.close(reader)
        raise

    def run() -> None:
        target = At(writer)
        try:
            capability = _capability(target)  # which writing takes away
            try:
                copy_data(reader, writer, size, lambda: work.stop, synced=not union.options.volatile)
                os.ftruncate(writer, size)
            except OSError:
                with suppress(OSError):  # a hole again
                    os.ftruncate(writer, 0)
                    os.ftruncate(writer, st.st_size)
                raise
            finally:
                if capability is not None:
                    target.setxattr(CAPABILITY, capability)
                target.utime(st.st_atime_ns, st.st_mtime_ns)
            if not union.options.volatile:
                os.fsync(writer)
        finally:
            os.close(reader)
            os.close(writer)

    work = Work(run, stoppable=True)
    return CopyUp(b"", st.st_size, work)


def filled(union: Union, node: File) -> None:
    """`node` has its data now. Raises OSError: it is as before."""
    place = objects.locate(union, node)
    reopened = objects.reopened(node, place)
    try:
        union.dialect.remove(place, METACOPY)
    except OSError:
        objects.close(reopened)
        raise
    with suppress(OSError):  # it means nothing now
        union.dialect.remove(place, REDIRECT)
    node.data = None
    union.changed.append(node)
    objects.turn_handles(reopened)


def _capability(target: At) -> bytes | None:
    try:
        return target.getxattr(CAPABILITY)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise
