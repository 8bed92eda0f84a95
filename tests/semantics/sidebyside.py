"""One scenario on two file systems: kernel overlayfs, which knows what is right, and ours.

    run_beside(tmp_path, build, act)

`build(layers)` fills a list of empty directories, lowers uppermost first; it runs twice, for equal copies. `act(root)`
makes its calls below a mount point and returns what it saw. Both mounts must return the same and show the same tree;
then again after a remount; then again when each mounts what the other wrote.
"""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.mounts import Mounted, mount_overlay, mount_union
from tests.support.tree import assert_same_tree, snapshot

Build = Callable[[list[Path]], None]
Act = Callable[[Path], Any]

KERNEL_OPTIONS = "index=on,redirect_dir=on,xino=on"
OUR_OPTIONS = "dialect=overlay"


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
    results: dict[str, Any] = {}
    trees = {}
    for side, (mount, options) in sides.items():
        layers = [tmp / side / f"lower{index}" for index in range(lowers)]
        for layer in layers:
            layer.mkdir(parents=True)
        build(layers)
        with _mount(mount, tmp / side, layers, options) as mounted:
            results[side] = act(mounted.path)
            trees[side] = snapshot(mounted.path)
    assert results["ours"] == results["kernel"]
    assert_same_tree(trees["kernel"], trees["ours"], ignore=ignore)
    if not cross:
        return
    for side, stack in (("kernel", "ours"), ("ours", "kernel"), ("ours", "ours")):
        mount, options = sides[side]
        layers = [tmp / stack / f"lower{index}" for index in range(lowers)]
        with _mount(mount, tmp / stack, layers, options) as again:
            assert_same_tree(trees[stack], snapshot(again.path), ignore=ignore)


def _mount(mount: Callable[..., Mounted], side: Path, layers: list[Path], options: str) -> Mounted:
    return mount(layers, side / "upper", workdir=side / "work", at=side / "at", options=options)


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `call` returns, or the name of its errno."""
    try:
        return call(*args, **kwargs)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


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


def copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
