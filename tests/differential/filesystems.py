"""Filesystems that can do less than ext4, to put an upper on: each mounts one and gives what takes it away."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.mounts import mount_overlay, mount_union

Unmount = Callable[[], object]


def same(place: Path) -> Unmount:
    """The one that everything else is on."""
    place.mkdir()
    return lambda: None


def ramfs(place: Path) -> Unmount:
    """No xattrs, no RENAME_WHITEOUT."""
    return _mount(place, "-t", "ramfs", "ramfs")


def overlay(place: Path) -> Unmount:
    """Kernel overlayfs: no char 0:0, no RENAME_WHITEOUT, no file handles."""
    lower = place.with_name(f"{place.name}.lower")
    lower.mkdir()
    return mount_overlay([lower], place.with_name(f"{place.name}.upper"), at=place, options="index=on").unmount


def ours(place: Path, options: str = "dialect=overlay") -> Unmount:
    """A union of ours."""
    lower = place.with_name(f"{place.name}.lower")
    lower.mkdir()
    return mount_union([lower], place.with_name(f"{place.name}.upper"), at=place, options=options).unmount


def ours_without_xattrs(place: Path) -> Unmount:
    """One without whiteout nodes and xattrs."""
    return ours(place, "dialect=overlay,noxattrs")


def _mount(place: Path, *arguments: str) -> Unmount:
    place.mkdir()
    subprocess.run(["mount", *arguments, place], check=True)
    return lambda: subprocess.run(["umount", place], check=True)
