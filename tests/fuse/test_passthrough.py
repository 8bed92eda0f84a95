"""Files that the kernel reads and writes itself: when, what everybody sees, and that no lower layer is ever written."""

import faulthandler
import hashlib
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion, Union, as_user
from tests.support import needs
from tests.support.mounts import MountFactory

pytestmark = needs.root

@pytest.fixture
def binding() -> str:
    """Only one knows passthrough."""
    return "direct"


DIRECT = "binding=direct"
OLD, NEW = b"old " * 20_480, b"new " * 20_480  # more than is given to the kernel unasked


def fill(lower: Path) -> None:
    (lower / "dir").mkdir()
    (lower / "file").write_bytes(OLD)
    os.link(lower / "file", lower / "other")


def moved(union: Union, content: bytes, path: Path) -> dict[str, int]:
    """Requests for data while `content` is read from `path`."""
    with union.requests() as counted:
        assert path.read_bytes() == content
    return {name: counted[name] for name in ("read", "write") if counted[name]}


@pytest.mark.uses("PASSTHROUGH")
def test_files_of_the_upper_are_read_and_written_by_the_kernel(make_union: MakeUnion) -> None:
    union = make_union(fill, f"debug,{DIRECT}")
    path = union.top / "new"
    with union.requests() as counted:
        path.write_bytes(NEW)
        with open(path, "ab") as file:
            file.write(b"end")
    assert counted["write"] == 0
    assert moved(union, NEW + b"end", path) == {}
    assert (union.upper / "new").read_bytes() == NEW + b"end"


@pytest.mark.uses("PASSTHROUGH")
def test_files_that_were_copied_up_are_too(make_union: MakeUnion) -> None:
    union = make_union(fill, f"debug,{DIRECT}")
    with union.requests() as counted, open(union.top / "file", "r+b") as file:
        file.write(b"new ")
    assert counted["write"] == 0
    assert moved(union, b"new " + OLD[4:], union.top / "file") == {}


def test_files_of_lowers_are_cached_or_passed_through_as_asked(make_union: MakeUnion) -> None:
    union = make_union(fill, f"debug,{DIRECT}")
    assert moved(union, OLD, union.top / "file") == {"read": 1}
    assert moved(union, OLD, union.top / "file") == {}


@pytest.mark.uses("PASSTHROUGH")
def test_files_of_a_read_only_union_are_read_by_the_kernel(public_path: Path, union_mount: MountFactory) -> None:
    lower = public_path / "lower"
    lower.mkdir()
    fill(lower)
    for options, expected in ((DIRECT, {}), (f"{DIRECT},lower_io=cached", {"read": 1})):
        mounted = union_mount([lower], at=public_path / "merged", options=f"debug,{options}")
        assert moved(Union(mounted, lower, lower), OLD, mounted.path / "file") == expected
        mounted.unmount()


@pytest.mark.uses("PASSTHROUGH")
def test_a_file_read_before_copy_up_stays_cached_for_all_until_it_is_closed(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill, f"debug,{DIRECT}")
    path = union.top / "file"
    reader = open_fds(path)
    assert os.pread(reader, 4, 0) == b"old "
    writer = open_fds(path, os.O_RDWR)
    with union.requests() as counted:
        os.pwrite(writer, b"new ", 0)
    assert counted["write"] == 1
    assert os.pread(reader, 4, 0) == b"new "
    os.close(reader)
    os.close(writer)
    with union.requests() as counted, open(path, "r+b") as file:
        file.write(b"newest")
    assert counted["write"] == 0


def test_what_was_written_past_the_cache_is_seen_through_it(make_union: MakeUnion, open_fds) -> None:
    """Cached, passed through, cached again: the page cache of the first time is out of date then."""
    union = make_union(fill, DIRECT)
    path, other = union.top / "file", union.top / "other"
    assert path.read_bytes() == OLD
    with open(path, "r+b") as file:
        file.write(NEW)
    assert other.read_bytes() == NEW


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6777, 0o6766])
def test_set_id_bits_go_with_a_strangers_write(make_union: MakeUnion, bits: int) -> None:
    union = make_union(fill, DIRECT)
    path = union.top / "program"
    path.write_bytes(OLD)
    path.chmod(bits | 0o022)
    assert as_user(1234, "os.pwrite(os.open(sys.argv[1], os.O_WRONLY), b'x', 0)", path) == ""
    assert path.stat().st_mode & 0o7777 == (bits | 0o022) & 0o777
    path.chmod(bits | 0o022)
    with open(path, "r+b") as file:
        file.write(b"root may")
    assert path.stat().st_mode & 0o7777 == bits | 0o022


def test_capabilities_go_with_any_write(make_union: MakeUnion) -> None:
    union = make_union(fill, DIRECT)
    path = union.top / "program"
    path.write_bytes(OLD)
    capability = bytes.fromhex("0100000202000000000000000000000000000000")
    os.setxattr(path, "security.capability", capability)
    with open(path, "r+b") as file:
        file.write(b"x")
    assert "security.capability" not in os.listxattr(union.upper / "program")


# lower_io=shared with an upper: files of lowers are passed through until they are copied up


@pytest.mark.uses("PASSTHROUGH")
def test_shared_readers_keep_the_lower_file_and_new_ones_see_the_upper(make_union: MakeUnion, open_fds) -> None:
    union = make_union(fill, f"{DIRECT},lower_io=shared")
    path = union.top / "file"
    reader = open_fds(path)
    before = os.fstat(reader)
    with mmap.mmap(reader, 0, prot=mmap.PROT_READ) as mapped:
        writer = open_fds(path, os.O_RDWR)
        os.pwrite(writer, NEW, 0)
        assert os.pread(reader, len(OLD), 0) == OLD == mapped[:]
        for name in (path, union.top / "other"):
            assert name.read_bytes() == NEW
            assert (name.stat().st_ino, name.stat().st_nlink) == (before.st_ino, 2)
    os.close(reader)
    assert path.read_bytes() == NEW
    os.pwrite(writer, OLD, 0)
    assert path.read_bytes() == OLD
    assert (union.lower / "file").read_bytes() == OLD


@pytest.mark.parametrize("change", [
    lambda path: path.chmod(0o600),
    lambda path: os.truncate(path, len(OLD)),
    lambda path: os.setxattr(path, "user.key", b"value"),
    lambda path: os.rename(path, path.with_name("renamed")),
    lambda path: os.link(path, path.with_name("linked")),
    lambda path: path.unlink(),
])
def test_a_shared_reader_survives_every_change(make_union: MakeUnion, open_fds, change) -> None:
    union = make_union(fill, f"{DIRECT},lower_io=shared")
    reader = open_fds(union.top / "file")
    change(union.top / "file")
    assert os.pread(reader, len(OLD), 0) == OLD
    expected = OLD
    for path in [path for path in union.top.iterdir() if path.is_file()]:  # names of one file
        assert path.read_bytes() == expected
        with open(path, "r+b") as file:
            file.write(NEW)
        assert path.read_bytes() == NEW
        expected = NEW
    assert os.pread(reader, len(OLD), 0) in (OLD, NEW)
    assert (union.lower / "file").read_bytes() == OLD


# Where it can't be had


@pytest.mark.uses("PASSTHROUGH")
def test_layers_on_overlayfs_are_passed_through(
    tmp_path: Path, public_path: Path, overlay_mount: MountFactory, union_mount: MountFactory
) -> None:
    (tmp_path / "base").mkdir()
    fill(tmp_path / "base")
    below = overlay_mount([tmp_path / "base"], tmp_path / "changes")
    (below.path / "upper").mkdir()
    mounted = union_mount(
        [below.path / "dir"], below.path / "upper", at=public_path / "merged", options=f"debug,{DIRECT}"
    )
    union = Union(mounted, below.path, below.path / "upper")
    (union.top / "new").write_bytes(NEW)
    assert moved(union, NEW, union.top / "new") == {}


def test_without_privilege_the_driver_reads_and_writes_and_says_so(public_path: Path) -> None:
    script = public_path / "script.sh"
    for name in ("lower", "upper", "work", "merged"):
        (public_path / name).mkdir()
    fill(public_path / "lower")
    script.write_text(
        f"""set -e
        cd {public_path}
        {sys.executable} -m unionfs merged -f -o {DIRECT},lowerdir=lower,upperdir=upper,workdir=work &
        while ! mountpoint -q merged; do sleep 0.05; done
        cat merged/file >/dev/null
        echo new > merged/new
        echo more >> merged/file
        cat merged/new
        tail -c 5 merged/file
        umount merged
        wait
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", str(script)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "new\nmore\n"), result.stderr
    told = [line for line in result.stderr.splitlines() if "not passed through: Operation not permitted" in line]
    assert len(told) == 1, result.stderr


# No lower layer is ever written


def checksum(lower: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(lower)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(lower.rglob("*"))
        if path.is_file()
    }


class Hands:
    """Somebody who opens, writes, maps and changes files at random, and never looks at what comes of it."""

    def __init__(self, top: Path, seed: int) -> None:
        self._top = top
        self._random = random.Random(seed)
        self._fds: list[int] = []
        self._maps: list[mmap.mmap] = []

    def work(self) -> int:
        """Act in a process of its own, its pid: whoever writes to a mapping of a file that was cut short is killed."""
        pid = os.fork()
        if pid == 0:
            try:
                faulthandler.disable()
                for _ in range(STEPS):
                    with suppress(OSError, ValueError, IndexError, TypeError):
                        self._random.choice(ACTIONS)(self)
            finally:
                os._exit(0)
        return pid

    def _path(self) -> Path:
        return self._top / f"{self._random.randrange(4)}"

    def open(self) -> None:
        flags = self._random.choice([os.O_RDONLY] * 3 + [os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND])
        flags |= self._random.choice([0] * 4 + [os.O_TRUNC, os.O_DIRECT, os.O_CREAT])
        self._fds.append(os.open(self._path(), flags, 0o644))

    def close(self) -> None:
        os.close(self._fds.pop(self._random.randrange(len(self._fds) or 1)))

    def write(self) -> None:
        os.pwrite(self._random.choice(self._fds), b"WRITTEN " * self._random.randrange(1, 2000), 0)

    def read(self) -> None:
        os.pread(self._random.choice(self._fds), 9000, self._random.randrange(9000))

    def map(self) -> None:
        fd = self._random.choice(self._fds)
        for prot in (mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ):
            with suppress(OSError):
                self._maps.append(mmap.mmap(fd, 4096, mmap.MAP_SHARED, prot))
                return

    def write_map(self) -> None:
        self._random.choice(self._maps)[:8] = b"MAPPED  "

    def sync_map(self) -> None:
        self._maps.pop().flush()

    def truncate(self) -> None:
        os.truncate(self._path(), self._random.randrange(20_000))

    def ftruncate(self) -> None:
        os.ftruncate(self._random.choice(self._fds), self._random.randrange(20_000))

    def allocate(self) -> None:
        os.posix_fallocate(self._random.choice(self._fds), 0, 30_000)

    def copy(self) -> None:
        os.copy_file_range(self._random.choice(self._fds), self._random.choice(self._fds), 5000, 0, 100)

    def chmod(self) -> None:
        self._path().chmod(self._random.choice([0o644, 0o600, 0o4755]))

    def rename(self) -> None:
        os.rename(self._path(), self._path())

    def link(self) -> None:
        os.link(self._path(), self._path())

    def unlink(self) -> None:
        self._path().unlink()


ACTIONS = [
    *[Hands.open] * 8, *[Hands.close] * 3, *[Hands.write] * 6, *[Hands.read] * 3, *[Hands.map] * 3,
    *[Hands.write_map] * 3, Hands.sync_map, Hands.truncate, Hands.ftruncate, Hands.allocate, Hands.copy, Hands.chmod,
    Hands.rename, Hands.link, Hands.unlink,
]  # fmt: skip
STEPS = 50
PLACES = 60
"""Directories of one mount, each with files of its own for two hands at once."""
MOUNTS = (int(os.environ.get("PYUNION_FUZZ_EXAMPLES", 30)) + 9) // 10
"""With two sequences in each place and three ways to mount, a thousand, and 18,000 of 500 examples."""


@pytest.mark.slow
@pytest.mark.uses("PASSTHROUGH")
@pytest.mark.parametrize("options", ["lower_io=shared", "lower_io=cached", "lower_io=shared,metacopy"])
def test_nothing_that_anybody_does_changes_a_byte_of_a_lower(
    public_path: Path, union_mount: MountFactory, options: str
) -> None:
    lower, upper, work = (public_path / name for name in ("lower", "upper", "upper.work"))
    for place in range(PLACES):
        (lower / f"{place}").mkdir(parents=True)
        for name in range(4):
            (lower / f"{place}/{name}").write_bytes(f"LOWER {name} ".encode() * 1800)
    before = checksum(lower)
    for turn in range(MOUNTS):
        mounted = union_mount([lower], upper, at=public_path / "merged", options=f"{DIRECT},{options}")
        for place in range(PLACES):
            seed = 2 * (turn * PLACES + place)
            pids = [Hands(mounted.path / f"{place}", seed + hand).work() for hand in range(2)]
            for pid in pids:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, -signal.SIGBUS)
        assert checksum(lower) == before, f"seeds {turn * PLACES * 2} and up"
        mounted.unmount()
        assert "Traceback" not in mounted.log_text(), f"turn {turn}: {mounted.log_text()}"
        assert checksum(lower) == before, f"seeds {turn * PLACES * 2} and up"
        for directory in (upper, work):
            shutil.rmtree(directory)
