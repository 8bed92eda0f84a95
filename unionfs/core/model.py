"""Value types that the verbs take and give."""

from typing import NamedTuple, Protocol

NOBODY = 65534
"""What users see of an id that isn't mapped. Kernel: overflowuid in Documentation/admin-guide/sysctl/kernel.rst."""


class StatLike(Protocol):
    """What stat(2) tells of an object; os.stat_result is one. The inode number is the node's, not this one's."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_rdev(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_blocks(self) -> int: ...
    @property
    def st_blksize(self) -> int: ...
    @property
    def st_atime_ns(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...


class Stat(NamedTuple):
    """A StatLike whose values aren't just those of the object beneath."""

    st_mode: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_rdev: int
    st_size: int
    st_blocks: int
    st_blksize: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int

    @classmethod
    def with_nlink(cls, st: StatLike, nlink: int) -> "Stat":
        return cls(
            st.st_mode,
            nlink,
            st.st_uid,
            st.st_gid,
            st.st_rdev,
            st.st_size,
            st.st_blocks,
            st.st_blksize,
            st.st_atime_ns,
            st.st_mtime_ns,
            st.st_ctime_ns,
        )


class Caller(NamedTuple):
    """The process a request comes from."""

    uid: int
    gid: int
    pid: int = 0
    umask: int = 0
    """For what it creates; harmless where the carrier has applied it already."""


class SetAttr(NamedTuple):
    """What setattr is to change; None leaves a value as it is. Times are in nanoseconds since 1970."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
