"""Run programs of a root filesystem in it, as little apart from the machine as they need.

    print(run_inside(mounted.path, "gcc -o /tmp/x x.c && /tmp/x"))

By chroot, in mount and pid namespaces of its own: /proc, /dev and an empty /tmp are there while the script runs and
gone with it, and so is every process it leaves behind. Raises AssertionError with the end of the output when the
script fails; its first failing command is the one that counts (sh -e).
"""

import os
import subprocess

from tests.support.needs import search_path

_ENTER = """
    set -e
    mount -t proc proc "$0/proc"
    mount -t tmpfs tmpfs "$0/tmp"
    mount --bind /dev "$0/dev"
    exec chroot "$0" /bin/sh -ec "$1"
"""
_NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
_SHOWN = 4000


def run_inside(root: str | os.PathLike[str], script: str, *, timeout_s: float = 100) -> str:
    """What `script` printed to both outputs, run by /bin/sh with `root` as its root directory."""
    environment = {"PATH": search_path(), "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    command = ["unshare", *_NAMESPACES, "/bin/sh", "-c", _ENTER, os.fspath(root), script]
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, timeout=timeout_s,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="surrogateescape", check=False,
    )
    assert result.returncode == 0, f"ended with {result.returncode}:\n{result.stdout[-_SHOWN:]}"
    return result.stdout
