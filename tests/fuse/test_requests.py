"""How few requests are left, and where their numbers can be had."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fuse.conftest import MakeUnion, as_user, direct_only
from tests.support import needs
from tests.support.chroot import run_inside
from tests.support.image import Image
from tests.support.mounts import PYUNIONFS, MountFactory
from tests.support.waiting import wait_for
from unionfs.fuse.direct import statistics

pytestmark = [needs.root, direct_only]  # pyfuse3 doesn't count

SETTLE_S = 0.03
TIMES = 6
FEW = pytest.mark.uses("DO_READDIRPLUS", "CACHE_SYMLINKS", "NO_OPENDIR_SUPPORT", "EXPLICIT_INVAL_DATA", "STATX")
OPENED = {"open", "release"}
"""What each open of a file costs: of one that the kernel reads itself, as of any other."""


@contextmanager
def counting(top: Path) -> Iterator[dict[str, int]]:
    """The requests that come while the block runs."""
    counted: dict[str, int] = {}
    time.sleep(SETTLE_S)  # releases and forgets come when nobody waits for them any more
    before = statistics.ask(os.fsencode(top))
    yield counted
    time.sleep(SETTLE_S)
    after = statistics.ask(os.fsencode(top))
    counted |= {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    del counted["ioctl"]


def fill(lower: Path) -> None:
    (lower / "file").write_bytes(b"lower" * 4096)
    (lower / "dir").mkdir()
    for number in range(50):
        (lower / f"dir/{number}").write_text(f"{number}")
    (lower / "link").symlink_to("file")


# Where the numbers are


def statistics_of(*arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, *PYUNIONFS, "--stats", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_mount_tells_which_requests_it_got(make_union: MakeUnion) -> None:
    union = make_union(fill)
    os.stat(union.top / "file")
    table = dict(line.split() for line in statistics_of(union.top).stdout.splitlines())
    assert (table["lookup"], table["ioctl"]) == ("1", "1")
    found = json.loads(statistics_of("--json", union.top).stdout)["requests"]
    assert (found["lookup"], found["ioctl"]) == (1, 2)
    assert int(table.pop("total")) == sum(map(int, table.values()))


def test_only_root_and_who_mounted_are_told(make_union: MakeUnion) -> None:
    union = make_union(fill)
    script = f"import fcntl; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), {statistics.COMMAND}, bytes(512))"
    assert "not permitted" in as_user(1234, script, union.top)
    assert as_user(0, script, union.top) == ""


def test_only_the_root_directory_of_a_union_tells(make_union: MakeUnion) -> None:
    union = make_union(fill)
    for place in (union.top / "dir", union.lower, "/proc"):
        result = statistics_of(place)
        assert (result.returncode, result.stdout) == (1, "")
        complaint = "no union that counts its requests is mounted there (binding=direct does)"
        assert result.stderr == f"pyunionfs: '{place}': {complaint}\n"
    assert "absent': No such file" in statistics_of(union.top / "absent").stderr
    for wrong in ((), (union.top, union.top), ("--what", union.top)):
        assert "--stats [--json] MOUNTPOINT" in statistics_of(*wrong).stderr


def test_a_signal_has_the_requests_told_in_the_log(make_union: MakeUnion) -> None:
    union = make_union(fill)
    os.stat(union.top / "file")
    union.driver.send_signal(signal.SIGUSR1)
    wait_for("the requests in the log", lambda: "requests: " in union.mounted.log_text())
    assert "lookup 1" in union.mounted.log_text()


# What the second time costs


def look(top: Path) -> None:
    for path in (top, top / "dir"):
        for entry in os.scandir(path):
            entry.stat(follow_symlinks=False)
    os.readlink(top / "link")
    assert not (top / "dir/absent").exists()


@FEW
def test_what_was_seen_is_not_asked_again(make_union: MakeUnion) -> None:
    union = make_union(fill)
    counts: list[dict[str, int]] = []
    dropped = caches_dropped()
    while len(counts) < 3:
        with counting(union.top) as counted:
            look(union.top)
        counts.append(counted)
        if caches_dropped() != dropped:
            dropped, counts = caches_dropped(), []
    assert counts[0]
    assert counts[1] == {"getattr": 3}  # two listings and a symlink: when they were last read
    assert counts[2] == {}


@pytest.fixture
def debian(image: Image, public_path: Path, union_mount: MountFactory) -> Path:
    """The real image, mounted with an upper."""
    return union_mount(image.layers, public_path / "upper", at=public_path / "merged").path


def left(top: Path, command: str, *, inside: bool = True) -> dict[str, int]:
    """The fewest requests that `command` sends when it is run again and again.

    What was listed or read is asked for its time of access once more, then for its ACL. And somebody may have the
    kernel drop what it keeps, at any time.
    """
    seen = []
    for _ in range(TIMES):
        with counting(top) as counted:
            if inside:
                run_inside(top, command)
            else:
                subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
        seen.append(counted)
    return min(seen[1:], key=lambda counted: sum(counted.values()))


def caches_dropped() -> str:
    """How often somebody has written to /proc/sys/vm/drop_caches."""
    return next(line for line in Path("/proc/vmstat").read_text().splitlines() if line.startswith("drop_slab"))


@FEW
@pytest.mark.uses("POSIX_ACL")  # else `ls -l` is told by us, each time, that there are none
@pytest.mark.image
def test_what_programs_send_the_second_time(debian: Path) -> None:
    """Those inside are run by a shell in a chroot, which opens four files and has one asked for a capability."""
    library = debian / "usr/lib/python3.11"
    counted = left(debian, f"ls -lR {library}", inside=False)
    assert set(counted) <= {"getxattr", "getattr"}
    assert sum(counted.values()) < 100, "of 1,200 objects; 1 if nobody has had the kernel drop anything"
    counted = left(debian, f"find {library} -printf '%p %s %l'", inside=False)
    assert counted in ({}, {"statfs": 1})
    counted = left(debian, "true")
    assert set(counted) - {"getattr"} == OPENED | {"getxattr"}
    assert counted["open"] == counted["release"] == 4
    counted = left(debian, "python3 -c 'import json, asyncio, decimal, email, unittest'")
    assert set(counted) - {"getattr"} == OPENED | {"getxattr"}, "nothing is looked up, listed or read"
    assert counted["getxattr"] == 2, "the capabilities of the two programs that are started"


@FEW
@pytest.mark.image
def test_what_git_sends_the_second_time(debian: Path) -> None:
    git = "git -c user.name=x -c user.email=x@y"
    run_inside(debian, f"cd /opt/app && git init -q . && git add . && {git} commit -qm x")
    lock = {"create", "unlink", "forget", "lookup"}
    counted = left(debian, "cd /opt/app && git status")
    assert set(counted) <= OPENED | lock | {"getxattr", "getattr"}
    assert counted["lookup"] <= 1, "of 1,500 files"
    assert counted["getattr"] < 100, "of 1,500 files: those that were read since, for their time of access"


@FEW
@pytest.mark.parametrize(("command", "expected"), [
    ("cat {top}/file", OPENED), ("stat {top}/dir/1", set()),
])
def test_what_simple_commands_send_the_second_time(make_union: MakeUnion, command: str, expected: set[str]) -> None:
    union = make_union(fill)
    counted = left(union.top, command.format(top=union.top), inside=False)
    assert counted == dict.fromkeys(expected, 1)
