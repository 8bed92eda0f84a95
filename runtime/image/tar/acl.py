"""Access control lists: the text that archives hold, and the value that the kernel keeps in an xattr.

Kernel: include/uapi/linux/posix_acl_xattr.h.
"""

import struct

_TAGS = {b"user": (1, 2), b"group": (4, 8), b"mask": (16, 16), b"other": (32, 32)}
_NOBODY = 0xFFFFFFFF
_VERSION = 2


def from_text(text: bytes) -> bytes | None:
    """The xattr's value for `user::rwx,group:500:r-x,…`; None if it says nothing or names users we can't know.

    A fourth field, as star writes it, is the number of the user that the second one names.
    """
    entries = []
    for line in text.replace(b"\n", b",").split(b","):
        fields = line.partition(b"#")[0].strip().split(b":")
        if fields == [b""]:
            continue
        if len(fields) < 3 or fields[0] not in _TAGS:
            return None
        who = fields[3] if len(fields) > 3 and fields[3].isdigit() else fields[1]
        if fields[1] and not who.isdigit():
            return None
        tag = _TAGS[fields[0]][1 if fields[1] else 0]
        permissions = sum(bit for letter, bit in ((b"r", 4), (b"w", 2), (b"x", 1)) if letter in fields[2])
        entries.append((tag, permissions, int(who) if fields[1] else _NOBODY))
    if not entries:
        return None
    entries.sort(key=lambda entry: (entry[0], entry[2]))
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
