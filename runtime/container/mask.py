"""What a container over the host's own root must not see: the directories in which containers are kept.

They are deleted from its view by whiteouts in a layer of its own, on top of the host's. A mount over them would hide
them too, until a container renames a directory above and is started again.
"""

import os
import stat

from runtime.marks import whiteout
from runtime.places import Places
from unionfs.core.dialect import TRUSTED, USER


def within(layers: list[str], places: Places) -> list[str]:
    """The paths, relative to the root, at which `layers` show one of `places`, none of them below another.

    Precondition: places exist.
    """
    found: list[str] = []
    for layer in map(os.path.realpath, layers):
        for place in map(os.path.realpath, places):
            if os.path.commonpath((layer, place)) == layer and place != layer:
                found.append(os.path.relpath(place, layer))
    return [path for path in sorted(set(found)) if not any(path.startswith(f"{other}/") for other in found)]


def make(mask: str, layers: list[str], places: Places) -> bool:
    """Make the layer `mask` if `layers` show one of `places`; whether they do.

    Directories on the way are merged with the host's, so they get its owner, mode and times.
    """
    hidden = within(layers, places)
    if not hidden:
        return False
    os.mkdir(mask)
    copied = {""}
    for path in hidden:
        names = path.split("/")
        for depth in range(1, len(names)):
            above = "/".join(names[:depth])
            if above not in copied:
                os.mkdir(f"{mask}/{above}")
                copied.add(above)
        _hide(f"{mask}/{path}")
    for above in sorted(copied, reverse=True):
        _copy_attributes(above, mask, layers)
    return True


def _hide(path: str) -> None:
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    try:
        whiteout(directory, os.fsencode(os.path.basename(path)), TRUSTED if os.geteuid() == 0 else USER)
    finally:
        os.close(directory)


def _copy_attributes(path: str, mask: str, layers: list[str]) -> None:
    """Give the directory `path` of `mask` what the uppermost layer that has it says."""
    for layer in layers:
        try:
            status = os.lstat(f"{layer}/{path}")
        except OSError:
            continue
        os.chown(f"{mask}/{path}", status.st_uid, status.st_gid)
        os.chmod(f"{mask}/{path}", stat.S_IMODE(status.st_mode))
        os.utime(f"{mask}/{path}", ns=(status.st_atime_ns, status.st_mtime_ns))
        return
