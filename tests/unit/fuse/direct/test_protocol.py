"""The protocol as data, compared with the kernel's own header where that is installed."""

import re
from pathlib import Path

import pytest

from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.protocol import Fattr, Fopen, Init, Notify, Opcode

HEADER = Path("/usr/include/linux/fuse.h")
TEXT = HEADER.read_text() if HEADER.exists() else ""

SIZES = {
    "IN_HEADER": 40, "OUT_HEADER": 16, "INIT_IN": 16, "INIT_IN_EXT": 64, "INIT_OUT": 64, "GETATTR_IN": 16,
    "SETATTR_IN": 88, "ATTR_OUT": 104, "ENTRY_OUT": 128, "MKNOD_IN": 16, "MKDIR_IN": 8, "RENAME2_IN": 16,
    "OPEN_IN": 8, "OPEN_OUT": 16, "CREATE_IN": 16, "READ_IN": 40, "WRITE_IN": 40, "WRITE_OUT": 8, "RELEASE_IN": 24,
    "FSYNC_IN": 16, "SETXATTR_IN": 8, "SETXATTR_IN_EXT": 16, "GETXATTR_IN": 8, "GETXATTR_OUT": 8, "STATFS_OUT": 80,
    "IOCTL_IN": 32, "IOCTL_OUT": 16, "FALLOCATE_IN": 32, "LSEEK_IN": 24, "LSEEK_OUT": 8, "COPY_FILE_RANGE_IN": 56,
    "STATX_IN": 24, "STATX_OUT": 288, "DIRENT": 24, "DIRENTPLUS": 152, "BATCH_FORGET_IN": 8, "FORGET_ONE": 16,
    "INVAL_INODE_OUT": 24, "INVAL_ENTRY_OUT": 16, "BACKING_MAP": 16, "INTERRUPT_IN": 8, "ACCESS_IN": 8,
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_layouts_have_the_sizes_of_the_structs(name: str) -> None:
    assert getattr(protocol, name).size == SIZES[name]


def named(pattern: str) -> dict[str, int]:
    """Names and values that `pattern` finds in the header; shifts are worked out."""
    found = {}
    for name, value in re.findall(pattern, TEXT):
        base, _, shift = value.upper().replace("ULL", "").replace("U", "").strip("()").partition("<<")
        found[name] = int(base, 0) << int(shift or 0)
    return found


@pytest.mark.skipif(not TEXT, reason="needs linux/fuse.h")
@pytest.mark.parametrize(("ours", "pattern"), [
    (Opcode, r"\tFUSE_(\w+)\s*= (\d+),"),
    (Notify, r"\tFUSE_NOTIFY_(\w+)\s*= (\d+),"),
    (Init, r"#define FUSE_(\w+)\s+(\(1[^)]*\))"),
    (Fopen, r"#define FOPEN_(\w+)\s+(\([^)]*\))"),
    (Fattr, r"#define FATTR_(\w+)\s+(\([^)]*\))"),
])
def test_numbers_are_those_of_the_header(ours, pattern: str) -> None:
    theirs = named(pattern)
    common = {name: int(value) for name, value in vars(ours).items() if name in theirs}
    assert len(common) >= 2
    assert common == {name: theirs[name] for name in common}
