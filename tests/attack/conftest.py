"""Attacks, tried from inside real containers. docs/security.md says which test is about which.

PYUNION_TEST_RACES says how often each race is run (8); `make races` runs them long.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion, busybox, layer, own_network
from tests.e2e.conftest import pyunion as connected
from tests.support.waiting import wait_for

__all__ = ["Pyunion", "busybox", "connected", "inside", "layer", "own_network", "pyunion", "tree_hash", "wait_for"]

RACES = int(os.environ.get("PYUNION_TEST_RACES", "8"))
PYTHON = str(Path(sys.executable).resolve())


class _Offline(Pyunion):
    """The command; containers have no network, which isn't what these tests are about, and takes its time."""

    def argv(self, *arguments: str | Path) -> list[str]:
        verb, *rest = arguments
        more = ("--network=none",) if verb in ("run", "create") else ()
        return super().argv(verb, *more, *rest)


@pytest.fixture
def pyunion(connected: Pyunion) -> Pyunion:
    return _Offline(connected.root.parent, connected.rootfs)


@pytest.fixture
def inside(pyunion: Pyunion) -> Callable[..., str]:
    """Run a program of Python in a container on this machine's own root: what it prints, errors included."""

    def run(program: str, *options: str) -> str:
        result = pyunion("run", "--rm", "--host", *options, PYTHON, "-I", "-S", "-c", program)
        return result.stdout + result.stderr

    return run


CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    result = libc.syscall(number, *(ctypes.c_long(argument) for argument in arguments))
    return errno.errorcode[ctypes.get_errno()] if result < 0 else 'done'
"""
"""For programs that make system calls by number (those of x86-64)."""


def tree_hash(*tops: Path) -> str:
    """All names, modes, links and contents below `tops`."""
    digest = hashlib.sha256()
    for top in tops:
        for path in sorted([top, *top.rglob("*")]):
            status = path.lstat()
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            digest.update(f"{path} {status.st_mode} {status.st_uid} {len(content)}\n".encode() + content)
    return digest.hexdigest()
