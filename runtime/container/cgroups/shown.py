"""What a container sees of its control groups at /sys/fs/cgroup: its own as the top, and nothing above.

Programs look there for the memory and the processors they have. With version 2 it is one mount; with version 1 a
directory in memory with one for each hierarchy, as on the host.
"""

import os
from contextlib import suppress
from typing import NamedTuple

from runtime.container.cgroups.group import Group
from unionfs.linux import mounts
from unionfs.linux.mounts import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

_PLACE = b"sys/fs/cgroup"
_HARMLESS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


class Shown(NamedTuple):
    """One mount, detached as yet."""

    path: bytes
    """Where, in the root."""
    mount: int


def prepare(group: Group, *, writable: bool) -> list[Shown]:
    """The mounts, those below after those above; none where we may not make them.

    Precondition: this process is in the group, and in a cgroup namespace made since.
    """
    attributes = _HARMLESS | (0 if writable else MOUNT_ATTR_RDONLY)
    controllers = [sorted(part.controllers) for part in group.parts if part.version == 1]
    found: list[Shown] = []
    with suppress(OSError):  # an ordinary user, or controllers that are mounted together with others
        if not controllers and group.parts:
            found.append(Shown(_PLACE, mounts.fsmount(b"cgroup2", {b"source": b"cgroup"}, attributes)))
        elif controllers:
            found.append(Shown(_PLACE, _make_top(controllers)))
            for names in controllers:
                options: dict[bytes, bytes | None] = {b"source": b"cgroup"}
                mount = mounts.fsmount(b"cgroup", options | {name.encode(): None for name in names}, attributes)
                found.append(Shown(b"%b/%b" % (_PLACE, ",".join(names).encode()), mount))
    return found


def _make_top(controllers: list[list[str]]) -> int:
    top = mounts.fsmount(b"tmpfs", {b"source": b"cgroup", b"mode": b"755", b"size": b"64k"}, _HARMLESS)
    for names in controllers:
        os.mkdir(",".join(names), 0o755, dir_fd=top)
        for name in names[1:] and names:
            os.symlink(",".join(names), name, dir_fd=top)
    mounts.set_attributes(top, MOUNT_ATTR_RDONLY)
    return top
