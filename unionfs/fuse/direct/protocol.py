"""The FUSE kernel protocol as data: opcodes, flags, layouts. Source: include/uapi/linux/fuse.h (7.45, Linux 6.18).

To be read beside that header. A layout names the fields it gives, in the header's order; those that nobody here asks
for are padding in its format; sizes and offsets in files are signed, as in system calls. Numbers are in the machine's
own byte order. Comments say since which protocol version something exists; a kernel sends and takes only what its
version has.
"""

from enum import IntEnum, IntFlag
from struct import Struct

MAJOR = 7
MINOR = 45
"""The newest version this was written for; the smaller of ours and the kernel's is spoken."""
OLDEST_MINOR = 31
"""Linux 5.4."""

ROOT_ID = 1
UNKNOWN_ID = 2**32 - 1
"""FUSE_INVALID_UIDGID: with ALLOW_IDMAP only requests that create something say who asks."""
NO_NODE = 0
"""As the nodeid of an entry: there is no such name, and that may be cached."""
PAGE_BYTES = 4096


class Opcode(IntEnum):
    """enum fuse_opcode: what a request asks for. FORGET, BATCH_FORGET and INTERRUPT have no reply."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50  # 7.34
    TMPFILE = 51  # 7.37
    STATX = 52  # 7.39
    COPY_FILE_RANGE_64 = 53  # 7.45


class Notify(IntEnum):
    """enum fuse_notify_code: what a server may say unasked; it stands where a reply has its error."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3
    STORE = 4


class Init(IntFlag):
    """FUSE_*: the features of INIT. The kernel offers, the reply accepts."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    DONT_MASK = 1 << 6
    HAS_IOCTL_DIR = 1 << 11
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    HANDLE_KILLPRIV = 1 << 19
    POSIX_ACL = 1 << 20
    ABORT_ERROR = 1 << 21
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24
    EXPLICIT_INVAL_DATA = 1 << 25
    HANDLE_KILLPRIV_V2 = 1 << 28  # 7.33
    SETXATTR_EXT = 1 << 29  # 7.33
    INIT_EXT = 1 << 30  # 7.36: there are more than 32
    PASSTHROUGH = 1 << 37  # 7.40
    NO_EXPORT_SUPPORT = 1 << 38  # 7.40
    ALLOW_IDMAP = 1 << 40  # 7.41


class Fopen:
    """FOPEN_*: how the kernel treats a file or directory that OPEN, CREATE, TMPFILE or OPENDIR opened.

    These and Fattr are plain numbers: to combine two members of an IntFlag takes 1 µs.
    """

    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    NOFLUSH = 1 << 5  # 7.35
    PASSTHROUGH = 1 << 7  # 7.40


class Fattr:
    """FATTR_*: which fields of setattr_in count."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    CHANGES = MODE | UID | GID | SIZE | ATIME | MTIME
    FH = 1 << 6
    KILL_SUIDGID = 1 << 11  # 7.33


GETATTR_FH = 1 << 0
OPEN_KILL_SUIDGID = 1 << 0
WRITE_KILL_SUIDGID = 1 << 2
SETXATTR_ACL_KILL_SGID = 1 << 0
FSYNC_FDATASYNC = 1 << 0

# Every message begins with one of these

IN_HEADER = Struct("=IIQQIII4x")  # len opcode unique nodeid uid gid pid [total_extlen padding]
OUT_HEADER = Struct("=IiQ")  # len error unique

# Requests: what stands behind in_header, before any names

INIT_IN = Struct("=IIII")  # major minor max_readahead flags
INIT_IN_EXT = Struct("=16xI44x")  # flags2, since 7.36
FORGET_IN = Struct("=Q")  # nlookup
BATCH_FORGET_IN = Struct("=I4x")  # count
FORGET_ONE = Struct("=QQ")  # nodeid nlookup
GETATTR_IN = Struct("=I4xQ")  # getattr_flags fh
SETATTR_IN = Struct("=I4xQq8xqq8xII4xI4xII4x")  # valid fh size atime mtime atimensec mtimensec mode uid gid
MKNOD_IN = Struct("=III4x")  # mode rdev umask
MKDIR_IN = Struct("=II")  # mode umask
RENAME_IN = Struct("=Q")  # newdir
RENAME2_IN = Struct("=QI4x")  # newdir flags
LINK_IN = Struct("=Q")  # oldnodeid
OPEN_IN = Struct("=II")  # flags open_flags
CREATE_IN = Struct("=IIII")  # flags mode umask open_flags; TMPFILE's too
READ_IN = Struct("=QqI20x")  # fh offset size
WRITE_IN = Struct("=QqII16x")  # fh offset size write_flags
RELEASE_IN = Struct("=Q16x")  # fh
FSYNC_IN = Struct("=QI4x")  # fh fsync_flags
SETXATTR_IN = Struct("=II")  # size flags
SETXATTR_IN_EXT = Struct("=III4x")  # size flags setxattr_flags, with SETXATTR_EXT
GETXATTR_IN = Struct("=I4x")  # size
ACCESS_IN = Struct("=I4x")  # mask
INTERRUPT_IN = Struct("=Q")  # unique
IOCTL_IN = Struct("=QII8xII")  # fh flags cmd in_size out_size
FALLOCATE_IN = Struct("=QqqI4x")  # fh offset length mode
LSEEK_IN = Struct("=QqI4x")  # fh offset whence
COPY_FILE_RANGE_IN = Struct("=QqQQqqQ")  # fh_in off_in nodeid_out fh_out off_out len flags
STATX_IN = Struct("=I4xQII")  # getattr_flags fh sx_flags sx_mask

# Replies: what stands behind out_header

# major minor max_readahead flags max_background congestion_threshold max_write time_gran max_pages [map_alignment]
# flags2 max_stack_depth [request_timeout unused]
INIT_OUT = Struct("=IIIIHHIIH2xII24x")
# ino size blocks atime mtime ctime atimensec mtimensec ctimensec mode nlink uid gid rdev blksize [flags]
ATTR = Struct("=QQQqqqIIIIIIIII4x")
ATTR_OUT = Struct("=QI4x")  # attr_valid attr_valid_nsec; then ATTR
ENTRY_OUT = Struct("=QQQQII")  # nodeid generation entry_valid attr_valid entry_valid_nsec attr_valid_nsec; then ATTR
OPEN_OUT = Struct("=QIi")  # fh open_flags backing_id
WRITE_OUT = Struct("=I4x")  # size
STATFS_OUT = Struct("=QQQQQIII28x")  # blocks bfree bavail files ffree bsize namelen frsize
GETXATTR_OUT = Struct("=I4x")  # size
IOCTL_OUT = Struct("=iIII")  # result flags in_iovs out_iovs
LSEEK_OUT = Struct("=q")  # offset
COPY_FILE_RANGE_OUT = Struct("=Q")  # bytes_copied; before 7.45 the reply is write_out
# ino off namelen type; then the name, padded to 8 bytes. In READDIRPLUS ENTRY_OUT and ATTR come first.
DIRENT = Struct("=QQII")

# attr_valid attr_valid_nsec flags, then struct fuse_statx: mask blksize attributes nlink uid gid mode ino size blocks
# attributes_mask, atime btime ctime mtime (each seconds and nanoseconds), rdev_major rdev_minor dev_major dev_minor
STATX_OUT = Struct("=QII16x" + "IIQIIIH2xQQQQ" + "qI4x" * 4 + "IIII112x")

# Notices: what stands behind out_header when it says a Notify

INVAL_INODE_OUT = Struct("=Qqq")  # ino off len; a negative off means attributes alone
INVAL_ENTRY_OUT = Struct("=QII")  # parent namelen flags; then the name and a zero byte
STORE_OUT = Struct("=QQI4x")  # nodeid offset size; then the data

# ioctl(2) on /dev/fuse

DEV_IOC_BACKING_OPEN = 0x4010E501  # 7.40; takes BACKING_MAP, gives a backing id
DEV_IOC_BACKING_CLOSE = 0x4004E502  # takes a backing id
BACKING_MAP = Struct("=iIQ")  # fd flags padding
BACKING_ID = Struct("=I")
