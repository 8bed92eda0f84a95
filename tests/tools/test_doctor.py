"""`pyunion doctor`: what it finds, on this machine and on poorer ones, and what it tells to do."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.mounts import MountFactory

CHECKOUT = Path(__file__).parents[2]
ORDINARY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
OWN_DEV = """
    mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3 && mknod -m {mode} /dev/fuse c 10 229
    exec "$@"
"""
"""A /dev of one's own, in a mount namespace that takes it along."""

Report = dict[str, dict[str, str]]


def run(*arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "tools.main", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "HOME": "/nonexistent", "XDG_DATA_HOME": "/nonexistent"}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False)


def examined(*arguments: str | Path, prefix: tuple[str, ...] = (), root: str | Path = "/var/tmp") -> Report:
    """The findings by what they are about."""
    result = run("--root", root, "doctor", "--json", *arguments, prefix=prefix)
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert result.returncode == int(any(finding["state"] == "missing" for finding in found))
    return {finding["about"]: finding for finding in found}


def the(report: Report, beginning: str) -> dict[str, str]:
    """The one finding that is about something that begins so."""
    (found,) = [finding for about, finding in report.items() if about.startswith(beginning)]
    return found


def in_own_dev(mode: str) -> tuple[str, ...]:
    return "unshare", "--mount", "--propagation", "private", "sh", "-c", OWN_DEV.format(mode=mode), "sh"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    return tmp_path


@needs.root
def test_root_of_this_machine_lacks_nothing_that_unions_need() -> None:
    needs.fuse_device()
    report = examined()
    assert {finding["state"] for finding in report.values()} <= {"ok", "less"}
    for about in ("kernel", "/dev/fuse", "mount", "protocol", "user namespaces", "seccomp"):
        assert report[about]["state"] == "ok"
    assert report["mount"]["fact"] == "by mount(2)"


def test_whatever_is_not_in_order_has_a_remedy() -> None:
    for finding in examined().values():
        assert bool(finding["remedy"]) == (finding["state"] != "ok"), finding


@needs.root
def test_it_leaves_nothing_behind(place: Path) -> None:
    examined("--upper", place / "upper", "--workdir", place / "work", "--lower", place / "lower")
    examined(root=place)
    assert sorted(path.name for path in place.iterdir()) == ["lower", "upper", "work"]
    assert list((place / "upper").iterdir()) == list((place / "lower").iterdir()) == []


@needs.root
def test_an_ordinary_user_mounts_by_fusermount3() -> None:
    needs.commands("setpriv", "unshare", "fusermount3")
    report = examined(prefix=(*in_own_dev("666"), *ORDINARY))
    assert report["mount"]["fact"] == "by fusermount3, as an ordinary user"
    assert the(report, "upper")["fact"].startswith("no trusted.* xattrs")
    assert report["/etc/subuid"]["remedy"].startswith("usermod --add-subuids")


@needs.root
def test_a_device_that_is_closed_or_not_there_is_told_with_the_way_out() -> None:
    needs.commands("setpriv", "unshare")
    closed = examined(prefix=(*in_own_dev("600"), *ORDINARY))["/dev/fuse"]
    assert (closed["state"], closed["fact"]) == ("missing", "Permission denied")
    assert "chmod 666 /dev/fuse" in closed["remedy"]
    absent = examined(prefix=(*in_own_dev("600"), "sh", "-c", 'rm /dev/fuse; exec "$@"', "sh"))["/dev/fuse"]
    assert (absent["state"], absent["fact"]) == ("missing", "No such file or directory")
    assert "modprobe fuse" in absent["remedy"]


@needs.root
def test_in_a_user_namespace_files_are_not_passed_through(place: Path) -> None:
    needs.fuse_device()
    report = examined(prefix=("unshare", "--user", "--map-root-user", "--mount"), root=place)
    assert report["mount"]["state"] == "ok"
    assert (report["passthrough"]["state"], "not permitted" in report["passthrough"]["fact"]) == ("less", True)


def test_root_of_a_user_namespace_can_mount_but_have_no_containers(place: Path) -> None:
    needs.commands("unshare")
    report = examined(prefix=("unshare", "--user", "--map-root-user", "--mount"), root=place)
    assert report["mount"]["state"] == "ok"
    assert report["root"]["state"] == "missing"
    assert "as an ordinary user" in report["root"]["remedy"]


@needs.root
def test_root_that_lacks_capabilities_is_told_which(place: Path) -> None:
    needs.commands("setpriv")
    lacking = examined(prefix=("setpriv", "--bounding-set=-mknod"), root=place)["capabilities"]
    assert (lacking["state"], "CAP_MKNOD: no containers" in lacking["fact"]) == ("missing", True)
    assert "--privileged" in lacking["remedy"]
    assert examined(root=place)["capabilities"]["state"] == "ok"


@needs.root
def test_an_older_kernel_uses_layers_as_they_are(place: Path) -> None:
    prefix = (sys.executable, str(CHECKOUT / "tests/support/old_kernel.py"), "5.11")
    report = examined("--lower", place / "lower", prefix=prefix)
    assert "not through a read-only clone" in the(report, "lower")["fact"]


@pytest.fixture
def ramfs(place: Path) -> Iterator[Path]:
    """A filesystem without xattrs."""
    needs.superuser()
    (place / "ram").mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ram", place / "ram"], check=True)
    yield place / "ram"
    subprocess.run(["umount", place / "ram"], check=True)


@needs.root
def test_an_upper_that_can_do_less_is_told_with_what_is_done_instead(ramfs: Path, overlay_mount: MountFactory) -> None:
    found = upper_in(ramfs)
    assert found["state"] == "less"
    assert found["fact"].startswith("no trusted.* xattrs: no redirects")
    stacked = overlay_mount([ramfs.parent / "lower"], ramfs.parent / "upper").path
    assert "no device nodes 0:0: deletions are empty files with an xattr" in upper_in(stacked)["fact"]


def upper_in(filesystem: Path) -> dict[str, str]:
    for name in ("upper", "work"):
        (filesystem / name).mkdir()
    report = examined("--upper", filesystem / "upper", "--workdir", filesystem / "work")
    return the(report, f"upper {filesystem}")


@needs.root
def test_layers_that_make_no_union_are_told_as_by_a_mount(place: Path, union_mount: MountFactory) -> None:
    union_mount([place / "lower"], place / "upper", workdir=place / "work")
    for arguments, words in (
        (("--lower", place / "nowhere"), "nowhere': it doesn't exist; create it"),
        (("--upper", place / "upper", "--workdir", "/proc"), "on another filesystem"),
        (("--upper", place / "upper", "--workdir", place / "work"), "in use by another mount"),
    ):
        layers = examined(*map(str, arguments))["layers"]
        assert layers["state"] == "missing"
        assert words in layers["fact"]


@pytest.mark.parametrize(("line", "complaint"), [
    ("--upper /tmp", "--upper and --workdir belong together"),
    ("--frob", "unknown flag: --frob"),
    ("now", "doctor takes none"),
])
def test_wrong_usage_is_refused(line: str, complaint: str) -> None:
    result = run("doctor", *shlex.split(line))
    assert result.returncode == 125
    assert complaint in result.stderr


def test_the_report_is_one_line_for_each_finding_and_one_for_each_remedy() -> None:
    lines = run("--root", "/var/tmp", "doctor").stdout.splitlines()
    findings = [line for line in lines if line.startswith(("ok ", "less ", "MISSING "))]
    assert len(findings) == len(examined())
    assert all(line.strip().startswith("→ ") for line in lines if line not in findings)
