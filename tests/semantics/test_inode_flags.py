"""Flags of inodes, chattr(1), and what they forbid (rules 42 and 43): the same answers, trees and errnos."""

import array
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.semantics.sidebyside import (
    EXCHANGE,
    KERNEL_OPTIONS,
    TIMES,
    opened,
    outcome,
    put,
    renameat2,
    run_beside,
)
from tests.support import needs

pytestmark = [needs.root, pytest.mark.uses("IOCTL")]

GETFLAGS, SETFLAGS, GETXATTR, SETXATTR = 0x80086601, 0x40086602, 0x801C581F, 0x401C5820
IMMUTABLE, APPEND, NODUMP, NOATIME = 0x10, 0x20, 0x40, 0x80


def flags_of(fd: int) -> int:
    value = array.array("i", [0])
    fcntl.ioctl(fd, GETFLAGS, value)
    return value[0] & (IMMUTABLE | APPEND | NODUMP | NOATIME)


def set_flags(fd: int, flags: int) -> int:
    return int(fcntl.ioctl(fd, SETFLAGS, array.array("i", [flags])))


def test_43_flags_of_inodes_are_shown_set_and_copied_up(tmp_path):
    def act(root):
        results = []
        for name in ("file", "dir", "upper"):
            (root / "upper").touch()
            results.append(opened(root / name, os.O_RDONLY, flags_of))
            for flags in (NODUMP, NODUMP | NOATIME, 0):
                results.append(opened(root / name, os.O_RDONLY, lambda fd, flags=flags: set_flags(fd, flags)))
                results.append(opened(root / name, os.O_RDONLY, flags_of))
            kept = opened(root / name, os.O_RDONLY, lambda fd: fcntl.ioctl(fd, GETXATTR, bytes(28)))
            results.append(struct.unpack_from("=I", kept)[0] & 0x80000000 or kept[8:20])
            changed = struct.pack("=I", 0x80) + kept[4:]  # FS_XFLAG_NODUMP
            answer = opened(root / name, os.O_RDONLY, lambda fd, value=changed: fcntl.ioctl(fd, SETXATTR, value))
            results.append(answer if isinstance(answer, str) else "done")
            results.append(opened(root / name, os.O_RDONLY, flags_of))
        results.append(opened(root / "file", os.O_RDONLY, lambda fd: fcntl.ioctl(fd, 0x5401, bytes(64))))
        return results

    run_beside(tmp_path, lambda layers: (put(layers[0] / "file"), put(layers[1] / "dir/below")), act, ignore=TIMES)


def test_42_what_is_immutable_stays_so(tmp_path):
    def act(root):
        (root / "made").touch()
        results = []
        for flag in (IMMUTABLE, APPEND):
            fd = os.open(root / "made", os.O_RDONLY)
            set_flags(fd, flag)
            for call in (
                lambda: os.close(os.open(root / "made", os.O_WRONLY)), lambda: os.truncate(root / "made", 3),
                lambda: os.unlink(root / "made"), lambda: os.rename(root / "made", root / "other"),
                lambda: os.chmod(root / "made", 0o600), lambda: os.setxattr(root / "made", "user.k", b"v"),
                lambda: os.link(root / "made", root / "linked"),
                lambda: os.close(os.open(root / "made", os.O_WRONLY | os.O_APPEND)),
            ):  # fmt: skip
                results.append(outcome(call))
            set_flags(fd, 0)
            os.close(fd)
        return results

    run_beside(tmp_path, lambda layers: put(layers[0] / "file"), act, ignore=TIMES)


@contextmanager
def protected(**flags: int) -> Iterator[None]:
    """Give files and directories, by their paths, flags that keep them from being changed, for a while."""
    for path, flag in flags.items():
        assert give(Path(path), flag) == 0
    try:
        yield
    finally:
        for path in flags:
            give(Path(path), 0)


def give(path: Path, flag: int) -> Any:
    """Let `path` have `flag` or, if it is 0, neither of IMMUTABLE and APPEND."""

    def change(fd: int) -> int:
        value = array.array("i", [0])
        fcntl.ioctl(fd, GETFLAGS, value)
        return set_flags(fd, value[0] & ~(IMMUTABLE | APPEND) | flag)

    return opened(path, os.O_RDONLY, change)


def build_protected(layers: list[Path]) -> None:
    for name in ("immutable", "append", "closed/file", "adding/file", "closed/inner/file"):
        put(layers[1] / name, "data")


def protect(lower: Path) -> AbstractContextManager[None]:
    return protected(**{
        str(lower / name): APPEND if name in ("append", "adding") else IMMUTABLE
        for name in ("immutable", "append", "closed", "adding")
    })  # fmt: skip


def test_43_what_is_immutable_in_a_lower_is_so_in_the_union(tmp_path):
    def act(root):
        results = []
        with protect(root.parent / "lower1"):
            for name in ("immutable", "append"):
                file = root / name
                results += [name, opened(file, os.O_RDONLY, flags_of) & (IMMUTABLE | APPEND)]
                for call in (
                    lambda f=file: os.close(os.open(f, os.O_WRONLY)), lambda f=file: os.truncate(f, 3),
                    lambda f=file: os.close(os.open(f, os.O_WRONLY | os.O_APPEND | os.O_TRUNC)),
                    lambda f=file: os.unlink(f), lambda f=file: os.rename(f, root / "other"),
                    lambda f=file: renameat2(f, root / "closed/file", EXCHANGE),
                    lambda f=file: os.chmod(f, 0o600), lambda f=file: os.setxattr(f, "user.k", b"v"),
                    lambda f=file: os.link(f, root / "linked"), lambda f=file: f.open("a").write("more"),
                    lambda f=file: os.chown(f, 1, 1), lambda f=file: f.read_text(),
                ):  # fmt: skip
                    results.append(outcome(call))
            for name in ("closed", "adding"):
                place = root / name
                (place / "file").write_text("changed")  # which copies the directory up
                results += [name, opened(place, os.O_RDONLY, flags_of) & (IMMUTABLE | APPEND)]
                for call in (
                    lambda d=place: os.mkdir(d / "new"), lambda d=place: os.unlink(d / "file"),
                    lambda d=place: os.rename(d / "file", d / "renamed"), lambda d=place: os.rename(d, root / "moved"),
                    lambda d=place: os.rename(root / "append", d / "file"), lambda d=place: os.chmod(d, 0o700),
                    lambda d=place: os.rmdir(d), lambda d=place: os.link(d / "file", d / "linked"),
                ):  # fmt: skip
                    results.append(outcome(call))
            results += [give(root / "closed", 0), outcome(os.mkdir, root / "closed/new")]
        return results

    run_beside(tmp_path, build_protected, act, ignore=TIMES)


@pytest.mark.parametrize("order", [1, -1])
def test_43_a_copy_of_what_is_immutable_is_so_for_whoever_mounts_it(tmp_path, union_mount, overlay_mount, order):
    layers = [tmp_path / "top", tmp_path / "bottom"]
    layers[0].mkdir()
    build_protected(layers)
    mounts = ((union_mount, "dialect=overlay"), (overlay_mount, KERNEL_OPTIONS))
    (first, options), (second, other_options) = mounts[::order]
    mounted = first(layers, tmp_path / "upper", workdir=tmp_path / "work", options=options)
    with protect(layers[1]):
        (mounted.path / "closed/file").write_text("changed")
        with (mounted.path / "append").open("a") as file:
            file.write("more")
    mounted.unmount()
    again = second(layers, tmp_path / "upper", workdir=tmp_path / "work", options=other_options)
    assert outcome(os.mkdir, again.path / "closed/new") == "EPERM"
    assert outcome(os.truncate, again.path / "append", 0) == "EPERM"
    assert (again.path / "append").read_text() == "datamore"
