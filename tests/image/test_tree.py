"""The whole tree of a real image, compared entry by entry with kernel overlayfs over the same layers."""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image.conftest import Debian
from tests.support.image import Image
from tests.support.mounts import MountFactory
from tests.support.tree import Snapshot, assert_same_tree, snapshot

KERNEL = "redirect_dir=on,index=on"
CHANGED_NOW = -1


def now_ns() -> int:
    """The beginning of this second, as some programs set times in whole seconds."""
    return int(time.time()) * 10**9


def without_new_times(tree: Snapshot, since_ns: int) -> Snapshot:
    """`tree` with one value for every time after `since_ns`: two trees can't be changed at the same nanosecond."""
    return {
        path: replace(entry, mtime_ns=CHANGED_NOW) if entry.mtime_ns >= since_ns else entry
        for path, entry in tree.items()
    }


def seen(root: Path, since_ns: int) -> Snapshot:
    """The tree, with content of what was written or copied up after `since_ns`; the first test compares the rest."""
    return snapshot(root, content_since_ns=since_ns)


def is_private(path: str) -> bool:
    """What programs write otherwise every time: logs, and caches that hold inode numbers and times."""
    return path.startswith(("var/log/", "var/cache/ldconfig/", "var/cache/apt/pkgcache.bin"))


def test_a_read_only_stack(image: Image, union_mount: MountFactory, overlay_mount: MountFactory) -> None:
    assert_same_tree(snapshot(overlay_mount(image.layers).path), snapshot(union_mount(image.layers).path))


def test_a_stack_with_an_empty_upper(debian: Debian, oracle: Debian) -> None:
    assert_same_tree(snapshot(oracle.root, content=False), snapshot(debian.root, content=False))
    assert debian.mounted.upper is not None
    assert list(debian.mounted.upper.iterdir()) == []


WRITES = {
    "files": """
        echo more >> /opt/odd/owned; echo new > /opt/odd/fresh; : > /opt/odd/sparse; truncate -s 100000 /etc/passwd
        echo first > /etc/motd; cp -a /bin/bash /bin/sh.copy; chmod 4711 /usr/bin/git; chown 7:8 /usr/bin/git
        touch -d 1999-12-31T23:59:59.123456789 /usr/bin/make; rm /usr/bin/sqlite3 /opt/odd/fifo /opt/odd/null
        ln -sf ../elsewhere /opt/odd/link; mkfifo /opt/odd/pipe; mknod /opt/odd/zero c 1 5
    """,
    "hard links": """
        cd /opt/odd; echo more >> second; ln deep/third fourth; rm name; mv fourth deep/; chmod 600 deep/fourth
        ln /usr/bin/python3.11 /usr/bin/py; ln /usr/bin/py /usr/bin/py2; rm /usr/bin/py
    """,
    "directories": """
        rm -r /usr/lib/python3.11/email /usr/share/locale
        mkdir -m 3770 /usr/lib/python3.11/email; touch /usr/lib/python3.11/email/one
        rmdir /srv; mkdir /srv; rm -r /opt/odd/moved; mkdir -p /new/a/b/c /opt/odd/moved
        chmod 700 /usr/lib/python3.11/json; chgrp 50 /var/mail; rm -rf /usr/share/perl*; echo file > /usr/share/perl
    """,
    "renames": """
        mv /opt/app/json /opt/app/js; mv /opt/app/js/decoder.py /opt/app/js/d.py; mv /opt/odd/moved /opt/there
        mv /opt/app/asyncio /usr/lib/python3.11/json/; mkdir /opt/empty; mv -T /opt/app/email /opt/empty
        mv /opt/app/os.py /opt/app/io.py; mv /usr/lib/gcc /usr/lib/compiler; mv /usr/lib/compiler /usr/lib/gcc
        mv /usr/share/locale /usr/share/words; mkdir /usr/share/locale
    """,
    "attributes": """
        cd /opt/odd; python3 - <<'PYTHON'
import os
os.setxattr("owned", "user.more", b"x" * 100)
os.removexattr("owned", "user.note")
os.setxattr("sticky", "trusted.hello", b"1")
os.removexattr("acl", "system.posix_acl_default")
os.removexattr("name", "security.capability")
os.utime("link", ns=(1, 2), follow_symlinks=False)
os.chown("link", 11, 12, follow_symlinks=False)
PYTHON
        chmod 2750 acl; mkdir acl/under; touch acl/file; umask 077; touch acl/private; mkdir -p /a/b
    """,
    "a package": "apt-get -y -qq --no-install-recommends --no-download -o Dpkg::Use-Pty=0 install bc",
    "a user": "useradd -m -s /bin/sh anna; echo anna:secret | chpasswd -e; chown -R anna /opt/odd/sticky",
    "a program": """
        echo 'int main(void) { return 0; }' > /opt/x.c; gcc -o /opt/x /opt/x.c; strip /opt/x; ar rc /opt/x.a /opt/x
        python3 -m compileall -q /usr/lib/python3.11/json
    """,
}


@pytest.fixture(params=list(WRITES.values()), ids=list(WRITES))
def writes(request: pytest.FixtureRequest) -> str:
    """One script of the table above."""
    script: str = request.param
    return script


def test_the_same_writes_give_the_same_tree(
    debian: Debian, oracle: Debian, overlay_mount: MountFactory, union_mount: MountFactory, writes: str
) -> None:
    """On both; after a remount; and each when the other mounts its upper."""
    begin_ns = now_ns()
    debian.run(writes)
    oracle.run(writes)
    expected = seen(oracle.root, begin_ns)
    before = seen(debian.root, begin_ns)
    assert_same_tree(without_new_times(expected, begin_ns), without_new_times(before, begin_ns), skip=is_private)
    debian.mounted.unmount()
    oracle.mounted.unmount()
    ours, theirs = debian.mounted, oracle.mounted
    by_kernel = overlay_mount(ours.lowers, ours.upper, options=KERNEL)
    assert_same_tree(before, seen(by_kernel.path, begin_ns))
    by_kernel.unmount()
    by_us = union_mount(theirs.lowers, theirs.upper)
    assert_same_tree(expected, seen(by_us.path, begin_ns))
    assert_same_tree(before, seen(debian.mounted.remount().path, begin_ns))


def test_a_container_of_a_day_gives_the_same_tree(debian: Debian, oracle: Debian) -> None:
    """All the scripts one after another, on one mount."""
    begin_ns = now_ns()
    script = "\n".join(f"({lines})" for name, lines in WRITES.items() if name not in {"directories", "attributes"})
    debian.run(script)
    oracle.run(script)
    expected, actual = seen(oracle.root, begin_ns), seen(debian.root, begin_ns)
    assert_same_tree(without_new_times(expected, begin_ns), without_new_times(actual, begin_ns), skip=is_private)


def inode_numbers(root: Path) -> dict[str, int]:
    """st_ino of every object; asserts that listings say the same number as stat, and that objects do not share one."""
    found: dict[str, int] = {}
    holders: dict[int, tuple[int, list[str]]] = {}
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                assert entry.inode() == status.st_ino, entry.path
                found[os.path.relpath(entry.path, root)] = status.st_ino
                holders.setdefault(status.st_ino, (status.st_nlink, []))[1].append(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
    assert [paths for links, paths in holders.values() if len(paths) > links] == []
    return found


def test_inode_numbers_are_unique_and_stay(debian: Debian, cold: Callable[[], None]) -> None:
    first = inode_numbers(debian.root)
    assert first["opt/odd/name"] == first["opt/odd/second"] == first["opt/odd/deep/third"]
    debian.run("chown -R 5 /opt && chmod -R a+r /usr/lib/python3.11")
    debian.run("mv /opt/app /opt/moved && mv /opt/moved /opt/app")
    assert inode_numbers(debian.root) == first
    cold()
    assert inode_numbers(debian.root) == first
    assert inode_numbers(debian.mounted.remount().path) == first


@pytest.fixture
def cold() -> Callable[[], None]:
    """Drop what the kernel has cached of names and inodes, so that it asks again."""

    def drop() -> None:
        Path("/proc/sys/vm/drop_caches").write_text("2")

    return drop


def test_sparse_files_stay_sparse(debian: Debian) -> None:
    path = debian.root / "opt/odd/sparse"
    allocated = path.stat().st_blocks
    os.chmod(path, 0o640)
    with path.open("r+b") as file:
        file.write(b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_size > 8 << 20
    assert path.stat().st_blocks <= allocated + 8
