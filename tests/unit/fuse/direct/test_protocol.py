"""The protocol as data, compared with the kernel's own header where that is installed."""

import re
import subprocess
from pathlib import Path
from struct import Struct, calcsize

import pytest

from tests.support import needs
from unionfs.fuse.direct import protocol
from unionfs.fuse.direct.protocol import Fattr, Fopen, Init, Notify, Opcode

HEADER = Path("/usr/include/linux/fuse.h")
TEXT = HEADER.read_text() if HEADER.exists() else ""

SIZES = {
    "IN_HEADER": 40, "OUT_HEADER": 16, "INIT_IN": 16, "INIT_IN_EXT": 64, "INIT_OUT": 64, "GETATTR_IN": 16,
    "SETATTR_IN": 88, "ATTR": 88, "ATTR_OUT": 16, "ENTRY_OUT": 40, "MKNOD_IN": 16, "MKDIR_IN": 8, "RENAME2_IN": 16,
    "OPEN_IN": 8, "OPEN_OUT": 16, "CREATE_IN": 16, "READ_IN": 40, "WRITE_IN": 40, "WRITE_OUT": 8, "RELEASE_IN": 24,
    "FSYNC_IN": 16, "SETXATTR_IN": 8, "SETXATTR_IN_EXT": 16, "GETXATTR_IN": 8, "GETXATTR_OUT": 8, "STATFS_OUT": 80,
    "IOCTL_IN": 32, "IOCTL_OUT": 16, "FALLOCATE_IN": 32, "LSEEK_IN": 24, "LSEEK_OUT": 8, "COPY_FILE_RANGE_IN": 56,
    "STATX_IN": 24, "STATX_OUT": 288, "DIRENT": 24, "BATCH_FORGET_IN": 8, "FORGET_ONE": 16,
    "INVAL_INODE_OUT": 24, "INVAL_ENTRY_OUT": 16, "STORE_OUT": 24, "BACKING_MAP": 16, "INTERRUPT_IN": 8, "ACCESS_IN": 8,
    "FORGET_IN": 8, "RENAME_IN": 8, "LINK_IN": 8, "COPY_FILE_RANGE_OUT": 8, "BACKING_ID": 4,
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_layouts_have_the_sizes_of_the_structs(name: str) -> None:
    assert getattr(protocol, name).size == SIZES[name]


def test_no_layout_is_left_out() -> None:
    assert set(SIZES) == {name for name, value in vars(protocol).items() if isinstance(value, Struct)}


OTHERWISE_CALLED = {
    "SETXATTR_IN_EXT": "setxattr_in", "GETXATTR_OUT": "getxattr_out", "INVAL_INODE_OUT": "notify_inval_inode_out",
    "INVAL_ENTRY_OUT": "notify_inval_entry_out", "STORE_OUT": "notify_store_out", "STATFS_OUT": "kstatfs",
    "INIT_IN_EXT": "",
}  # fmt: skip
_LINE = re.compile(r'^([A-Z_0-9]+) = Struct\("=(\w+)"\)  # ([\w ]+)', re.MULTILINE)


def told_fields() -> list[tuple[str, str, int]]:
    """What our module says of the header's structs: (struct, field, offset), from the comment behind each layout."""
    found = []
    for name, layout, comment in _LINE.findall(Path(protocol.__file__).read_text()):
        offset, fields = 0, comment.split()
        for count, code in re.findall(r"(\d*)([a-zA-Z])", layout):
            for _ in range(1 if code == "x" else int(count or 1)):
                if code != "x" and fields:
                    found.append((OTHERWISE_CALLED.get(name, name.lower()), fields.pop(0), offset))
                offset += calcsize(f"={count if code == 'x' else ''}{code}")
    return found


@pytest.mark.skipif(not TEXT, reason="needs linux/fuse.h")
def test_fields_are_where_the_header_has_them(tmp_path: Path) -> None:
    """As a C compiler sees it; of what is newer than this machine's header, nothing can be said."""
    known = [
        (struct, field, offset)
        for struct, field, offset in told_fields()
        if (found := re.search(rf"struct fuse_{struct} {{(.*?)\n}};", TEXT, re.DOTALL)) and f"\t{field};" in found[1]
    ]
    assert len(known) > 80
    checks = [f"_Static_assert(offsetof(struct fuse_{struct}, {field}) == {offset}, \"{struct}.{field}\");"
              for struct, field, offset in known]  # fmt: skip
    source = tmp_path / "offsets.c"
    source.write_text("\n".join(["#include <stddef.h>", "#include <linux/fuse.h>", *checks]))
    needs.commands("gcc")
    result = subprocess.run(["gcc", "-fsyntax-only", source], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


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
