"""What callers of the mount program rely on: podman's storage, mount(8), people."""

import os
import select
import stat
import subprocess
from pathlib import Path

import pytest

from tests.mountprogram.conftest import Stage, make_layers, processes_naming
from tests.support import needs
from tests.support.mounts import escape, mount_point_lines
from tests.support.waiting import DEADLINE_S

pytestmark = needs.root

FUSE_SUPER_MAGIC = "65735546"


def test_the_mount_is_up_when_it_returns_and_the_driver_ends_with_it(stage: Stage) -> None:
    stage.mount("-o", stage.options, str(stage.point))
    assert sorted(os.listdir(stage.point)) == ["from-a", "from-b"]
    assert processes_naming(stage.top) != []
    stage.umount()


def test_a_dropped_connection_ends_the_driver(stage: Stage) -> None:
    stage.mount("-o", stage.options, str(stage.point))
    subprocess.run(["umount", "-l", str(stage.point)], check=True)
    stage.wait_for_drivers()


def test_fusermount3_unmounts(stage: Stage) -> None:
    needs.commands("fusermount3")
    stage.mount("-o", stage.options, str(stage.point))
    subprocess.run(["fusermount3", "-u", str(stage.point)], check=True)
    stage.wait_for_drivers()


@pytest.mark.parametrize("form", [
    "lowerdir=TOP/a:TOP/b,upperdir=TOP/upper,workdir=TOP/work,,volatile",
    "lowerdir=TOP/a:TOP/b,upperdir=TOP/upper,workdir=TOP/work,",
    "lowerdir=TOP/a:TOP/b,upperdir=TOP/upper,workdir=TOP/work,private",
    'lowerdir=TOP/a:TOP/b,upperdir=TOP/upper,workdir=TOP/work,context="system_u:object_r:t:s0:c1,c2"',
    "lowerdir=TOP/link-a:TOP/link-b,upperdir=TOP/upper,workdir=TOP/work",
    "lowerdir=a:b,upperdir=upper,workdir=work",
    "lowerdir=TOP/a:TOP/b",
    "noatime,nodev,lowerdir=TOP/a:TOP/b",
])
def test_options_as_containers_storage_sends_them(stage: Stage, form: str) -> None:
    for name in ("a", "b"):
        (stage.top / f"link-{name}").symlink_to(name)
    result = stage.run("-o", form.replace("TOP", str(stage.top)), str(stage.point))
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(stage.point)) == ["from-a", "from-b"]
    if "upperdir" in form:
        (stage.point / "new").write_text("new")
        assert (stage.top / "upper/new").read_text() == "new"
    else:
        with pytest.raises(OSError, match="Read-only"):
            (stage.point / "new").write_text("new")
    stage.umount()


def test_layers_may_be_renamed_while_mounted(stage: Stage) -> None:
    stage.mount("-o", stage.options, str(stage.point))
    (stage.top / "b").rename(stage.top / "moved")
    assert (stage.point / "from-b").read_text() == "b"


def test_statfs_says_fuse_and_mountinfo_our_subtype(stage: Stage) -> None:
    stage.mount("-o", stage.options, str(stage.point))
    magic = subprocess.run(["stat", "-f", "-c", "%t", str(stage.point)], capture_output=True, text=True, check=True)
    assert magic.stdout.strip() == FUSE_SUPER_MAGIC
    (line,) = mount_point_lines(stage.point)
    assert " - fuse.pyunionfs " in line


def test_flags_of_the_mount_are_applied(stage: Stage) -> None:
    stage.mount("-o", f"{stage.options},ro,nosuid,nodev,noexec", str(stage.point))
    (line,) = mount_point_lines(stage.point)
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(line.split(" ")[5].split(","))
    with pytest.raises(OSError, match="Read-only"):
        (stage.point / "new").write_text("new")


def test_version_and_help_go_to_standard_output(stage: Stage) -> None:
    for argument, word in (("--version", "pyunion"), ("-V", "pyunion"), ("--help", "lowerdir"), ("-h", "lowerdir")):
        result = stage.run(argument)
        assert (result.returncode, result.stderr) == (0, "")
        assert word in result.stdout


@pytest.mark.slow
def test_500_layers(stage: Stage) -> None:
    names = [f"layer{number}" for number in range(500)]
    make_layers(stage.top, names)
    for number, name in enumerate(names):
        (stage.top / name / "same").write_text(str(number))
    lowers = ":".join(str(stage.top / name) for name in names)
    stage.mount("-o", f"lowerdir={lowers},{stage.writable}", str(stage.point))
    assert len(os.listdir(stage.point)) == 501
    assert (stage.point / "same").read_text() == "0"
    assert (stage.point / "from-layer499").read_text() == "layer499"
    (stage.point / "from-layer499").write_text("changed")
    (stage.point / "from-layer250").unlink()
    assert len(os.listdir(stage.point)) == 500
    stage.umount()


@pytest.mark.parametrize(
    "name", ["co:lon", "com,ma", "new\nline", "back\\slash", "sp ace", '"quotes"', "\udcff\udcfe", "end\\", "trailing:"]
)
def test_odd_paths(stage: Stage, name: str) -> None:
    """Rule 96."""
    odd = stage.top / name
    odd.mkdir()
    make_layers(odd, ["a", "b"])
    for part in ("upper", "work", "merged"):
        (odd / part).mkdir()
    lowers = ":".join(escape(odd / part) for part in ("a", "b"))
    options = f"lowerdir={lowers},upperdir={escape(odd / 'upper')},workdir={escape(odd / 'work')}"
    stage.mount("-o", options, str(odd / "merged"))
    assert sorted(os.listdir(odd / "merged")) == ["from-a", "from-b"]
    (odd / "merged/new").write_text("new")
    assert (odd / "upper/new").exists()
    stage.umount(odd / "merged")


def test_the_driver_holds_nothing_of_its_caller(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither its descriptors, nor its working directory, which can be unmounted, nor its session."""
    elsewhere = tmp_path_factory.mktemp("cwd")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(elsewhere)], check=True)
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    command = [*stage.prefix, "python3", "-c", "import os,sys; os.execvp(sys.argv[1], sys.argv[1:])"]
    try:
        from tests.support.mounts import PYUNIONFS

        subprocess.run(
            [*command, *PYUNIONFS, "-o", stage.options, str(stage.point)],
            cwd=elsewhere, pass_fds=[write_end], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True,
        )
        os.close(write_end)
        assert select.select([read_end], [], [], DEADLINE_S)[0], "somebody holds the other end"
        assert os.read(read_end, 1) == b""
    finally:
        os.close(read_end)
        subprocess.run(["umount", str(elsewhere)], check=True)
    pids = [int(line.split(":")[0]) for line in processes_naming(stage.top)]
    assert pids
    assert all(os.getsid(pid) != os.getsid(0) for pid in pids)


def test_mount_8_starts_the_driver(stage: Stage, mount_helper: Path) -> None:
    """mount(8) looks in PATH=/usr/local/bin:… whatever ours is, so a namespace has our program there."""
    needs.commands("unshare", "mount.fuse3")
    script = """
        mount --bind "$0" /usr/local/bin
        mount -t fuse.pyunionfs "a name" "$1" -o "defaults,nofail,_netdev,x-of-ours=1,$2"
        grep -- " - fuse.pyunionfs " /proc/self/mountinfo
        rm "$1/from-a"
        umount "$1"
    """
    command = ["unshare", "--mount", "--propagation", "slave", "sh", "-e", "-c", script]
    arguments = [str(mount_helper), str(stage.point), stage.options]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert " - fuse.pyunionfs a\\040name " in result.stdout
    assert stat.S_ISCHR((stage.top / "upper/from-a").stat().st_mode), "a whiteout"



def test_mount_8_is_told_where_a_driver_is(stage: Stage, mount_helper: Path) -> None:
    program = f"{mount_helper}/pyunionfs#a name"
    subprocess.run(["mount", "-t", "fuse", program, stage.point, "-o", stage.options], check=True, timeout=30)
    assert [line.split()[-3] for line in mount_point_lines(stage.point)] == ["fuse.pyunionfs"]
    stage.umount()
