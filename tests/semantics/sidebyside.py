"""One scenario on two file systems: kernel overlayfs, which knows what is right, and ours.

    run_beside(tmp_path, build, act)

`build(layers)` fills a list of empty directories, lowers uppermost first; it runs twice, for equal copies. `act(root)`
makes its calls below a mount point and returns what it saw. Both mounts must return the same and show the same tree;
then again after a remount; then again when each mounts what the other wrote.
"""

import errno
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.mounts import Mounted, mount_overlay, mount_union
from tests.support.tree import Entry, Snapshot, assert_same_tree, snapshot
from unionfs.linux import fsops

Build = Callable[[list[Path]], object]
Act = Callable[[Path], Any]

KERNEL_OPTIONS = "index=on,redirect_dir=on,xino=on"
OUR_OPTIONS = "dialect=overlay"
TIMES = frozenset({"mtime_ns"})
"""For scenarios that change things: what calls touch has a time of its own on each side."""
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
MIB_IN_BLOCKS = 2048
_AT_FDCWD = -100
NEW = -1
"""In place of a time since the test began."""


def run_beside(
    tmp: Path,
    build: Build,
    act: Act,
    *,
    lowers: int = 2,
    kernel: str = KERNEL_OPTIONS,
    ours: str = OUR_OPTIONS,
    ignore: frozenset[str] = frozenset(),
    cross: bool = True,
) -> None:
    """Run the scenario as the module says; `ignore` names fields of the trees that may differ by decision."""
    sides = {"kernel": (mount_overlay, kernel), "ours": (mount_union, ours)}
    names = [f"lower{index}" for index in range(lowers)]
    for name in names:
        (tmp / "built" / name).mkdir(parents=True)
    build([tmp / "built" / name for name in names])
    results: dict[str, Any] = {}
    seen: dict[str, Seen] = {}
    for side, (mount, options) in sides.items():
        subprocess.run(["cp", "-a", tmp / "built", tmp / side], check=True)
        started_ns = next_tick_ns(tmp)
        with _mount(mount, tmp / side, [tmp / side / name for name in names], options) as mounted:
            results[side] = act(mounted.path)
            seen[side] = look(mounted.path, started_ns)
    assert results["ours"] == results["kernel"], f"ours {results['ours']!r}\nkernel {results['kernel']!r}"
    assert_same(seen["kernel"], seen["ours"], ignore=ignore)
    if not cross:
        return
    for side, stack in (("kernel", "ours"), ("ours", "kernel"), ("ours", "ours")):
        mount, options = sides[side]
        with _mount(mount, tmp / stack, [tmp / stack / name for name in names], options) as again:
            now = look(again.path, seen[stack].started_ns)
        try:
            assert_same(seen[stack], now, ignore=ignore)
        except AssertionError as error:
            raise AssertionError(f"{side} shows another tree of what {stack} wrote: {error}") from None


def next_tick_ns(directory: Path) -> int:
    """A time that no file had so far, as the kernel's clock for files ticks a few hundred times a second."""
    clock = directory / "clock"
    clock.touch()
    before = now = clock.stat().st_mtime_ns
    while now == before:
        clock.touch()
        now = clock.stat().st_mtime_ns
    return now


class Seen(NamedTuple):
    """A whole tree, and which of its names are one object."""

    tree: Snapshot
    same: dict[str, str]
    """Of each name of a file, the first name in order that has the same st_ino."""
    started_ns: int
    """Times from here on were not there before the test, and count as equal."""


def look(root: Path, started_ns: int) -> Seen:
    """Read the tree at `root`; every st_ino must be that of the listing and belong to one object."""
    tree = {path: _comparable(entry, started_ns) for path, entry in snapshot(root).items()}
    first: dict[int, str] = {}
    same = {}
    for path in tree:
        status = os.lstat(root / path)
        assert path not in first.values()
        same[path] = first.setdefault(status.st_ino, path)
        if tree[path].type == "directory":
            assert same[path] == path, f"{path} and {same[path]} have one st_ino"
            for entry in os.scandir(root / path):
                assert entry.inode() == entry.stat(follow_symlinks=False).st_ino, entry.path
    return Seen(tree, same, started_ns)


def _comparable(entry: Entry, started_ns: int) -> Entry:
    """Without times since the start, and without the links of a directory: 1 if it is merged, which depends on what
    was copied up (rule 70)."""
    mtime_ns = NEW if entry.mtime_ns >= started_ns else entry.mtime_ns
    return replace(entry, mtime_ns=mtime_ns, nlink=0 if entry.type == "directory" else entry.nlink)


def assert_same(expected: Seen, actual: Seen, *, ignore: frozenset[str] = frozenset()) -> None:
    """Fail with the differences, if there are any."""
    assert_same_tree(expected.tree, actual.tree, ignore=ignore)
    assert actual.same == expected.same


def _mount(mount: Callable[..., Mounted], side: Path, layers: list[Path], options: str) -> Mounted:
    return mount(layers, side / "upper", workdir=side / "work", at=side / "at", options=options)


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `call` returns, or the name of its errno."""
    try:
        return call(*args, **kwargs)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def opened(path: Path, flags: int, call: Any) -> Any:
    """What `call` gives of a descriptor of `path`, or the name of its error."""
    fd = os.open(path, flags)
    try:
        return outcome(call, fd)
    finally:
        os.close(fd)


def renameat2(old: Path, new: Path, flags: int) -> None:
    fsops.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)


def shell(command: str, cwd: Path) -> int:
    return subprocess.run(["sh", "-c", command], cwd=cwd, capture_output=True, check=False).returncode


def whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, 0o020000, 0)


def opaque(path: Path, value: bytes = b"y") -> None:
    path.mkdir(parents=True, exist_ok=True)
    os.setxattr(path, "trusted.overlay.opaque", value)


def put(path: Path, text: str = "", mode: int | None = None) -> Path:
    """Write a file whose mtime doesn't depend on when the test runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mode is not None:
        path.chmod(mode)
    os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_001_987_654_321))
    return path


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))
