"""What is done when a system call fails: one verb each, on the layers of `world`, perhaps after some others."""

import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.unit.core.inprocess import ROOT, InProcess
from unionfs.core.model import Caller, SetAttr
from unionfs.core.ops import attrs, create, files, remove, rename
from unionfs.core.work import run_inline

USER = Caller(1000, 1000)
NOREPLACE, EXCHANGE = 1, 2


def _nothing(fs: InProcess) -> None:
    """The upper is empty."""


class Scenario(NamedTuple):
    """A verb on a prepared union."""

    act: Callable[[InProcess], Any]
    prepare: Callable[[InProcess], Any] = _nothing
    options: dict[str, Any] = {}
    cuts: bool = False
    """It cuts a file short, which may be done, with times still the old ones, although an error is told."""
    counts: bool = False
    """Names of a lower hard link are deleted and it isn't copied up: how many is noted after the fact, so a crash may
    lose the note, and the kernel doesn't read it."""
    spared: tuple[str, ...] = ()
    """Names at which a whiteout may be left that hides nothing, as the kernel too leaves it."""
    in_place: bool = False
    """A file is written where it is, which moves its times before all of its data is there."""


def _in(fs: InProcess, path: str) -> tuple[Any, bytes]:
    parent, _, name = path.rpartition("/")
    return fs.node(parent), os.fsencode(name)


def open_to_write(fs: InProcess, path: str, flags: int = os.O_RDWR) -> None:
    files.release(fs.union, fs.open(path, flags))


def setattr(fs: InProcess, path: str, **change: int) -> None:
    run_inline(attrs.setattr(fs.union, fs.node(path), SetAttr(**change), ROOT))


def make(fs: InProcess, path: str, caller: Caller = ROOT) -> None:
    fh, _ = create.create(fs.union, *_in(fs, path), 0o644, os.O_RDWR, caller)
    files.release(fs.union, fh)


def written(fs: InProcess, path: str, data: bytes = b"upper") -> None:
    make(fs, path)
    fs.write(path, data)


def mkdir(fs: InProcess, path: str, caller: Caller = ROOT) -> None:
    create.mkdir(fs.union, *_in(fs, path), 0o755, caller)


def mkfifo(fs: InProcess, path: str) -> None:
    create.mknod(fs.union, *_in(fs, path), stat.S_IFIFO | 0o644, 0, USER)


def symlink(fs: InProcess, path: str) -> None:
    create.symlink(fs.union, *_in(fs, path), b"target", USER)


def link(fs: InProcess, old: str, new: str) -> None:
    run_inline(create.link(fs.union, fs.node(old), *_in(fs, new)))


def unlink(fs: InProcess, *paths: str) -> None:
    for path in paths:
        remove.unlink(fs.union, *_in(fs, path))


def rmdir(fs: InProcess, path: str) -> None:
    remove.rmdir(fs.union, *_in(fs, path))


def move(fs: InProcess, old: str, new: str, flags: int = 0) -> None:
    run_inline(rename.rename(fs.union, *_in(fs, old), *_in(fs, new), flags))


def setxattr(fs: InProcess, path: str, key: bytes = b"user.new") -> None:
    run_inline(attrs.setxattr(fs.union, fs.node(path), key, b"value"))


def removexattr(fs: InProcess, path: str) -> None:
    run_inline(attrs.removexattr(fs.union, fs.node(path), b"user.key"))


def steps(*acts: Callable[[InProcess], Any]) -> Callable[[InProcess], None]:
    def all_of_them(fs: InProcess) -> None:
        for act in acts:
            act(fs)

    return all_of_them


METACOPY = {"metacopy": True}

SCENARIOS = {
    "copy up a file": Scenario(lambda fs: open_to_write(fs, "file")),
    "copy up a file, with the directories above it": Scenario(lambda fs: open_to_write(fs, "chain/a/b/file")),
    "copy up a large file": Scenario(lambda fs: open_to_write(fs, "large")),
    "copy up a sparse file": Scenario(lambda fs: open_to_write(fs, "sparse")),
    "copy up a file with xattrs, ACL and capability": Scenario(lambda fs: open_to_write(fs, "xattrs")),
    "copy up a hard link": Scenario(lambda fs: open_to_write(fs, "links/one")),
    "copy up a hard link of which a name was deleted": Scenario(
        lambda fs: open_to_write(fs, "links/two"), lambda fs: unlink(fs, "links/one"), counts=True
    ),
    "copy up when volatile": Scenario(lambda fs: open_to_write(fs, "file"), options={"volatile": True}),
    "copy up a symlink": Scenario(lambda fs: setattr(fs, "symlink", uid=1000)),
    "copy up a fifo": Scenario(lambda fs: setattr(fs, "fifo", mode=0o600)),
    "copy up a device": Scenario(lambda fs: setattr(fs, "device", mode=0o640)),
    "copy up a directory": Scenario(lambda fs: setattr(fs, "chain/a", mode=0o700)),
    "copy up for setxattr": Scenario(lambda fs: setxattr(fs, "file")),
    "copy up for removexattr": Scenario(lambda fs: removexattr(fs, "xattrs")),
    "write to a lower file": Scenario(lambda fs: fs.write("file", b"UPPER")),
    "write to a lower hard link": Scenario(lambda fs: fs.write("links/two", b"UPPER")),
    "cut a lower file when opening": Scenario(
        lambda fs: open_to_write(fs, "file", os.O_WRONLY | os.O_TRUNC), cuts=True
    ),
    "cut a lower file": Scenario(lambda fs: setattr(fs, "large", size=1000), cuts=True),
    "cut a lower hard link": Scenario(lambda fs: setattr(fs, "links/one", size=3), cuts=True),
    "metacopy": Scenario(lambda fs: setattr(fs, "xattrs", mode=0o600), options=METACOPY),
    "metacopy of a hard link": Scenario(lambda fs: setattr(fs, "links/one", mode=0o600), options=METACOPY),
    "metacopy filled in": Scenario(
        lambda fs: open_to_write(fs, "large"), lambda fs: setattr(fs, "large", mode=0o600), METACOPY
    ),
    "metacopy of a sparse file filled in": Scenario(
        lambda fs: fs.write("sparse", b"UPPER"), lambda fs: setattr(fs, "sparse", mode=0o600), METACOPY
    ),
    "metacopy with a capability filled in": Scenario(
        lambda fs: open_to_write(fs, "xattrs"), lambda fs: setxattr(fs, "xattrs"), METACOPY
    ),
    "metacopy of a hard link filled in": Scenario(
        lambda fs: fs.write("links/two", b"UPPER"),
        lambda fs: setattr(fs, "links/one", mode=0o600),
        METACOPY,
        in_place=True,
    ),
    "metacopy cut": Scenario(
        lambda fs: setattr(fs, "large", size=1000), lambda fs: setattr(fs, "large", mode=0o600), METACOPY, cuts=True
    ),
    "metacopy renamed elsewhere": Scenario(
        lambda fs: move(fs, "large", "chain/renamed"), lambda fs: setattr(fs, "large", mode=0o600), METACOPY
    ),
    "metacopy linked": Scenario(lambda fs: link(fs, "large", "chain/linked"), options=METACOPY),
    "metacopy by renaming": Scenario(lambda fs: move(fs, "large", "merged/renamed"), options=METACOPY),
    "unlink a lower file": Scenario(lambda fs: unlink(fs, "file")),
    "unlink a second lower file": Scenario(lambda fs: unlink(fs, "file"), lambda fs: unlink(fs, "doomed")),
    "unlink a lower file deep below": Scenario(lambda fs: unlink(fs, "chain/a/b/file")),
    "unlink a copied-up file": Scenario(lambda fs: unlink(fs, "file"), lambda fs: fs.write("file", b"UPPER")),
    "unlink an upper file": Scenario(lambda fs: unlink(fs, "new"), lambda fs: written(fs, "new")),
    "unlink a lower hard link": Scenario(lambda fs: unlink(fs, "links/one"), counts=True),
    "unlink a second lower hard link": Scenario(
        lambda fs: unlink(fs, "links/two"), lambda fs: unlink(fs, "links/one"), counts=True
    ),
    "unlink a copied-up hard link": Scenario(
        lambda fs: unlink(fs, "links/one"), lambda fs: fs.write("links/one", b"UPPER")
    ),
    "unlink the lower name of a copied-up hard link": Scenario(
        lambda fs: unlink(fs, "links/two"), lambda fs: fs.write("links/one", b"UPPER")
    ),
    "unlink the last name of a copied-up hard link": Scenario(
        lambda fs: unlink(fs, "links/one"),
        steps(lambda fs: fs.write("links/one", b"UPPER"), lambda fs: unlink(fs, "links/two", "chain/three")),
    ),
    "rmdir a lower directory": Scenario(lambda fs: rmdir(fs, "empty")),
    "rmdir an upper directory": Scenario(lambda fs: rmdir(fs, "new"), lambda fs: mkdir(fs, "new")),
    "rmdir a directory of whiteouts": Scenario(lambda fs: rmdir(fs, "hollow"), lambda fs: unlink(fs, "hollow/gone")),
    "rmdir a merged directory of whiteouts": Scenario(
        lambda fs: rmdir(fs, "merged"), lambda fs: unlink(fs, "merged/low", "merged/top")
    ),
    "create a file": Scenario(lambda fs: make(fs, "chain/a/b/new", USER)),
    "create a file over a whiteout": Scenario(lambda fs: make(fs, "file", USER), lambda fs: unlink(fs, "file")),
    "create a file over a whiteout, inheriting": Scenario(
        lambda fs: make(fs, "chain/a/b", USER),
        steps(lambda fs: unlink(fs, "chain/a/b/file"), lambda fs: rmdir(fs, "chain/a/b")),
    ),
    "mkdir": Scenario(lambda fs: mkdir(fs, "chain/a/new", USER)),
    "mkdir over a whiteout": Scenario(lambda fs: mkdir(fs, "file", USER), lambda fs: unlink(fs, "file")),
    "mkdir over the whiteout of a directory": Scenario(
        lambda fs: mkdir(fs, "hollow", USER),
        steps(lambda fs: unlink(fs, "hollow/gone"), lambda fs: rmdir(fs, "hollow")),
    ),
    "mknod over a whiteout": Scenario(lambda fs: mkfifo(fs, "file"), lambda fs: unlink(fs, "file")),
    "symlink over a whiteout": Scenario(lambda fs: symlink(fs, "file"), lambda fs: unlink(fs, "file")),
    "link a lower file": Scenario(lambda fs: link(fs, "file", "chain/a/linked")),
    "link a lower hard link": Scenario(lambda fs: link(fs, "links/one", "chain/linked")),
    "link a copied-up hard link by its lower name": Scenario(
        lambda fs: link(fs, "links/two", "linked"), lambda fs: fs.write("links/one", b"UPPER")
    ),
    "link over a whiteout": Scenario(lambda fs: link(fs, "file", "doomed"), lambda fs: unlink(fs, "doomed")),
    "link an upper file": Scenario(lambda fs: link(fs, "new", "merged/linked"), lambda fs: written(fs, "new")),
    "rename a lower file": Scenario(lambda fs: move(fs, "file", "chain/a/renamed")),
    "rename a lower file over a lower one": Scenario(lambda fs: move(fs, "file", "doomed")),
    "rename an upper file over a lower one": Scenario(
        lambda fs: move(fs, "new", "chain/a/b/file"), lambda fs: written(fs, "new")
    ),
    "rename an upper file over a copied-up one": Scenario(
        lambda fs: move(fs, "new", "file"),
        steps(lambda fs: written(fs, "new"), lambda fs: fs.write("file", b"UPPER")),
    ),
    "rename a lower file over an upper one": Scenario(
        lambda fs: move(fs, "file", "new"), lambda fs: written(fs, "new")
    ),
    "rename a lower file over a whiteout": Scenario(
        lambda fs: move(fs, "file", "doomed", NOREPLACE), lambda fs: unlink(fs, "doomed")
    ),
    "rename an upper file over a whiteout": Scenario(
        lambda fs: move(fs, "new", "doomed"), steps(lambda fs: unlink(fs, "doomed"), lambda fs: written(fs, "new"))
    ),
    "rename a lower hard link": Scenario(lambda fs: move(fs, "links/one", "chain/renamed")),
    "rename a copied-up hard link by its lower name": Scenario(
        lambda fs: move(fs, "links/two", "renamed"), lambda fs: fs.write("links/one", b"UPPER")
    ),
    "rename over a lower hard link": Scenario(lambda fs: move(fs, "file", "links/one"), counts=True),
    "rename over a copied-up hard link": Scenario(
        lambda fs: move(fs, "file", "links/one"), lambda fs: fs.write("links/one", b"UPPER")
    ),
    "rename a symlink": Scenario(lambda fs: move(fs, "symlink", "merged/symlink")),
    "rename a lower directory": Scenario(lambda fs: move(fs, "pure", "redirected")),
    "rename a lower directory elsewhere": Scenario(lambda fs: move(fs, "pure/inner", "chain/a/redirected")),
    "rename a merged directory": Scenario(lambda fs: move(fs, "merged", "redirected")),
    "rename a merged directory again": Scenario(
        lambda fs: move(fs, "chain/redirected", "redirected"), lambda fs: move(fs, "merged", "chain/redirected")
    ),
    "rename an upper directory": Scenario(
        lambda fs: move(fs, "new", "merged/moved"), steps(lambda fs: mkdir(fs, "new"), lambda fs: written(fs, "new/f"))
    ),
    "rename an upper directory over a whiteout": Scenario(
        lambda fs: move(fs, "new", "file"),
        steps(lambda fs: mkdir(fs, "new"), lambda fs: unlink(fs, "file")),
        spared=("new",),
    ),
    "rename a lower directory over a whiteout": Scenario(
        lambda fs: move(fs, "pure", "file"), lambda fs: unlink(fs, "file")
    ),
    "rename a lower directory over an empty one": Scenario(lambda fs: move(fs, "pure", "empty")),
    "rename a directory over one of whiteouts": Scenario(
        lambda fs: move(fs, "new", "hollow"),
        steps(lambda fs: mkdir(fs, "new"), lambda fs: written(fs, "new/f"), lambda fs: unlink(fs, "hollow/gone")),
    ),
    "exchange two lower files": Scenario(lambda fs: move(fs, "file", "chain/a/b/file", EXCHANGE)),
    "exchange a lower directory and a lower file": Scenario(lambda fs: move(fs, "pure", "file", EXCHANGE)),
    "exchange two merged directories": Scenario(lambda fs: move(fs, "merged", "chain/a", EXCHANGE)),
    "exchange a lower hard link and an upper file": Scenario(
        lambda fs: move(fs, "links/one", "new", EXCHANGE), lambda fs: written(fs, "new")
    ),
}
