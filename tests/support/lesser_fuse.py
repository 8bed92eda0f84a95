"""The mount program, as on a kernel whose FUSE offers less.

    python tests/support/lesser_fuse.py WHAT [ARGUMENT…]

WHAT is a feature of INIT by its name, such as PASSTHROUGH, several joined by `+`, EVERYTHING, or MINOR_31: no more than
Linux 5.4 had. PYUNION_TEST_REFUSE=WHAT in the environment makes all mounts of the tests so, and leaves out those tests
that are about what isn't there (`@pytest.mark.uses("PASSTHROUGH")`), as PYUNION_TEST_BINDING=pyfuse3 does. `make
features` does it for one after the other.

The kernel's offer is cut as it comes in; requests newer than its version are unknown.
"""

import os
import sys
from pathlib import Path

from unionfs.fuse.direct.protocol import Init, Opcode

MINOR_31, EVERYTHING = "MINOR_31", "EVERYTHING"
PYFUSE3_LACKS = (
    "PASSTHROUGH", "TMPFILE", "FALLOCATE", "LSEEK", "COPY_FILE_RANGE", "IOCTL", "STATX", "ALLOW_IDMAP",
    "NO_OPENDIR_SUPPORT", "CACHE_SYMLINKS", "DONT_MASK", "HANDLE_KILLPRIV_V2", "SETXATTR_EXT", "NO_EXPORT_SUPPORT",
    "INTERRUPT",
)  # fmt: skip
"""Features and requests that the other binding can't have; docs/mount.md says what comes of each."""

_NEVER_TAKEN = Init.AUTO_INVAL_DATA | Init.READDIRPLUS_AUTO
CHOICES = (
    *(feature.name or "" for feature in Init if feature not in _NEVER_TAKEN),
    "HANDLE_KILLPRIV+HANDLE_KILLPRIV_V2",
    EVERYTHING,
    MINOR_31,
)

_OLD_MINOR = 31
_OLD_FEATURES = Init((1 << 27) - 1)
_NEWEST_OLD = Opcode.COPY_FILE_RANGE
_ALL = Init((1 << 64) - 1)
_EXTENDED = Init(_ALL & ~0xFFFFFFFF)


def refused(what: str) -> Init:
    """The features that WHAT takes away."""
    if what == EVERYTHING:
        return _ALL
    if what == MINOR_31:
        return _ALL & ~_OLD_FEATURES
    missing = Init(sum(Init[name] for name in what.split("+") if name))
    return missing | _EXTENDED if Init.INIT_EXT in missing else missing


def command(what: str) -> tuple[str, ...]:
    """The program as arguments to run, in place of the usual one."""
    return sys.executable, str(Path(__file__)), what


def is_refused(names: tuple[str, ...]) -> bool:
    """Whether these tests run without one of the features, or requests (by opcode), of these names."""
    if os.environ.get("PYUNION_TEST_BINDING") == "pyfuse3":
        return not set(PYFUSE3_LACKS).isdisjoint(names)
    what = os.environ.get("PYUNION_TEST_REFUSE", "")
    missing = refused(what)
    return any(Init[name] in missing if name in Init.__members__ else what == MINOR_31 for name in names)


def _offer_less(what: str) -> None:
    from unionfs.fuse.direct import attributes, directories, files, names, session

    real_parse, missing = session.parse, refused(what)

    def parse(fields: tuple[int, int, int, int], flags2: int) -> tuple[int, int, Init]:
        major, minor, offered = real_parse(fields, flags2)
        return major, min(minor, _OLD_MINOR) if what == MINOR_31 else minor, offered & ~missing

    session.parse = parse
    if what == MINOR_31:
        for module in (attributes, directories, files, names):
            for opcode in [opcode for opcode in module.HANDLERS if opcode > _NEWEST_OLD]:
                del module.HANDLERS[opcode]


if __name__ == "__main__":
    if not sys.argv[1:]:
        print(*CHOICES)
        sys.exit()
    from unionfs.cli.verbs import main

    _offer_less(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
