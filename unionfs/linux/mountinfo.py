"""What is mounted where in this namespace, from /proc/self/mountinfo (Documentation/filesystems/proc.rst, 3.5)."""

import os
from collections.abc import Iterator
from typing import NamedTuple


class Mount(NamedTuple):
    """One line of mountinfo."""

    device: bytes
    """b"MAJOR:MINOR", also the name of its backing-device folder in /sys/class/bdi."""
    root: bytes
    """What of the filesystem is mounted, as a path in it."""
    target: bytes
    fstype: bytes
    source: bytes
    options: bytes
    """Of the filesystem, not of this mount."""


def parse(line: bytes) -> Mount:
    """Read one line. Blanks and backslashes in names are octal escapes in it."""
    before, _, after = line.partition(b" - ")
    fields = before.split(b" ")
    fstype, source, options = after.rstrip(b"\n").split(b" ")[:3]
    return Mount(fields[2], _unescape(fields[3]), _unescape(fields[4]), fstype, _unescape(source), options)


def topmost(target: bytes) -> Mount | None:
    """The mount that is seen at `target`, an absolute path without symlinks; None if none has its root there."""
    found = None
    for mount in mounts():
        if mount.target == target:
            found = mount
    return found


def of_device(device: int) -> Mount | None:
    """A mount of the filesystem that gives its objects the st_dev `device`; None if none is seen from here."""
    number = b"%d:%d" % (os.major(device), os.minor(device))
    return next((mount for mount in mounts() if mount.device == number), None)


def is_id_mapped(fd: int) -> bool:
    """Whether the mount in which `fd` was opened maps ids (mount_setattr(2)); it must be seen from here."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as facts:
        number = next(line.split()[1] for line in facts if line.startswith(b"mnt_id:"))
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            fields = line.split(b" ")
            if fields[0] == number:
                return b"idmapped" in fields[5].split(b",")
    return False


def mounts() -> Iterator[Mount]:
    """All that is mounted in this namespace, the oldest first."""
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            if b" - " in line:
                yield parse(line)


def _unescape(name: bytes) -> bytes:
    first, *rest = name.split(b"\\")
    return first + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest)
