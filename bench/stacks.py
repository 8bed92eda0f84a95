"""The layers that are measured on: a real image, and synthetic stacks. Built once on a machine, then kept.

A stack holds the same tree twice: `layers` has kernel overlayfs's marks for what is deleted; `plain` has neither marks
nor what they hide, for unions that don't know them. The second is a copy: hard links would give every file a second
name, which hardly a file of an image has, and which a union that keeps such names together has to look after.
"""

import os
import random
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.debian import INSTALL, cache_folder, debian_stack

SCRIPTS = {
    "certificates": f"{INSTALL} ca-certificates curl; apt-get clean",
    "python": f"{INSTALL} python3; apt-get clean",
    "git": f"{INSTALL} git; apt-get clean",
    "compiler": f"{INSTALL} gcc libc6-dev make; apt-get clean",
    "removed": "rm -r /usr/share/doc/* /usr/share/man/*",
    "app": "mkdir -p /opt/app; cd /opt/app; cp -a /usr/lib/python3.11 /usr/share/perl/5.36.0/[A-T]* .",
    "opaque": "rm -r /usr/share/locale; mkdir /usr/share/locale; echo new > /usr/share/locale/only",
}
"""The image's layers above the base, bottom first."""

APP = "opt/app"
"""Where the image has the application: standard libraries of Python and Perl, 1,500 small files, all in one layer."""
HUGE_ENTRIES = 100_000
LARGE_MIB = 512
FLAT_FILES = 4_096
FLAT_DIRECTORIES = 32


class Stack(NamedTuple):
    """Directories to mount, uppermost first."""

    layers: tuple[Path, ...]
    plain: tuple[Path, ...]


StackMaker = Callable[[], Stack]


def image() -> Stack:
    """Debian in eight layers, 19,000 objects."""
    layers = debian_stack(SCRIPTS)
    folder = layers[0].parent.with_name(f"{layers[0].parent.name}.plain")
    _once(folder, lambda target: _make_plain(layers, target))
    return Stack(layers, tuple(folder / layer.name for layer in layers))


def app_files() -> list[str]:
    """Names of the application's files, relative to the union's root."""
    layer = next(layer for layer in image().layers if layer.name.endswith("app"))
    return sorted(str(path.relative_to(layer)) for path in (layer / APP).rglob("*") if path.is_file())


def flat(count: int) -> StackMaker:
    """The same tree, 32 directories of 128 files, spread over `count` layers; each layer has all directories."""

    def make(folder: Path) -> None:
        for number in range(count):
            for directory in range(FLAT_DIRECTORIES):
                (folder / f"{number:03}/d{directory:02}").mkdir(parents=True)
        for number in range(FLAT_FILES):
            name = f"{number % count:03}/d{number % FLAT_DIRECTORIES:02}/file{number:05}"
            (folder / name).write_bytes(b"x" * (number % 1000))

    return lambda: _synthetic(f"layers-{count}", make)


def huge() -> Stack:
    """One directory of 100,000 files, every third in the upper of two layers."""

    def make(folder: Path) -> None:
        for layer in ("0", "1"):
            (folder / layer / "huge").mkdir(parents=True)
        for number in range(HUGE_ENTRIES):
            os.close(os.open(folder / f"{int(number % 3 > 0)}/huge/{huge_name(number)}", os.O_CREAT | os.O_WRONLY))

    return _synthetic("huge", make)


def huge_name(number: int) -> str:
    """Name of a file in the huge directory."""
    return f"an-entry-of-some-length-{number:06}"


def large() -> Stack:
    """One file of 512 MiB that no compression makes smaller, below an empty layer."""

    def make(folder: Path) -> None:
        for layer in ("0", "1"):
            (folder / layer).mkdir()
        block = random.Random(1).randbytes(1 << 20)
        with open(folder / "1/large", "wb") as file:
            for number in range(LARGE_MIB):
                file.write(number.to_bytes(8, "little") + block[8:])

    return _synthetic("large", make)


def _synthetic(name: str, make: Callable[[Path], None]) -> Stack:
    folder = cache_folder() / f"bench-{name}"
    _once(folder, make)
    layers = tuple(sorted(folder.iterdir()))
    return Stack(layers, layers)


def _once(folder: Path, make: Callable[[Path], None]) -> None:
    """Have `make` fill `folder`, unless it is there; it gets the name when it is whole."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        part.chmod(0o755)
        make(part)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part)
        raise


def _make_plain(layers: tuple[Path, ...], target: Path) -> None:
    """A copy of `layers` without marks, and without what layers above hide."""
    for layer in layers:
        subprocess.run(["cp", "-a", layer, target / layer.name], check=True)
    for number, layer in enumerate(layers):
        below = [target / lower.name for lower in layers[number + 1 :]]
        for folder, directories, files in os.walk(layer):
            inner = Path(folder).relative_to(layer)
            for name in files:
                if _is_whiteout(os.lstat(f"{folder}/{name}")):
                    (target / layer.name / inner / name).unlink()
                    _remove(below, inner / name)
            for name in directories:
                if _is_opaque(f"{folder}/{name}"):
                    _remove(below, inner / name)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(path: str) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path, follow_symlinks=False)


def _remove(layers: list[Path], name: Path) -> None:
    for layer in layers:
        if os.path.lexists(layer / name):
            subprocess.run(["rm", "-rf", layer / name], check=True)
