"""Where containers are kept: directories that hold other things, that were removed, that lie in one another."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion, descendants, process
from tests.support import needs
from tests.support.mounts import PYUNIONFS
from tests.support.waiting import wait_for


def test_what_others_keep_in_the_run_directory_is_left_alone(pyunion: Pyunion) -> None:
    (pyunion.runroot / "folder").mkdir(parents=True)
    (pyunion.runroot / "folder/file").write_text("precious\n")
    (pyunion.runroot / "file").write_text("precious\n")
    assert pyunion.output("echo", "hello") == "hello\n"
    assert pyunion.containers() == []
    assert (pyunion.runroot / "folder/file").read_text() == "precious\n"
    assert sorted(path.name for path in pyunion.runroot.rglob("*")) == ["file", "file", "folder"]
    shutil.rmtree(pyunion.runroot)


def test_a_state_directory_that_was_removed_under_a_crashed_container_is_made_anew(pyunion: Pyunion) -> None:
    client = pyunion.start("sleep", "1000")
    wait_for("it runs", lambda: any(one.title == "sleep 1000" for one in descendants(client.pid)))
    family = descendants(client.pid)
    client.kill()
    for one in family:
        if process(one.pid):
            subprocess.run(["kill", "-KILL", str(one.pid)], check=False, capture_output=True)
    wait_for("all are dead", lambda: not any(one.alive() for one in family))
    client.communicate()
    shutil.rmtree(pyunion.root)
    assert (pyunion("ps").returncode, pyunion("ps").stderr) == (0, "")
    assert pyunion.output("echo", "hello") == "hello\n"


@pytest.mark.parametrize(("root", "runroot"), [("a", "a/run"), ("a/root", "a"), ("a", "a")])
def test_one_of_the_directories_may_lie_in_the_other(tmp_path: Path, pyunion: Pyunion, root: str, runroot: str) -> None:
    other = Pyunion(tmp_path / "other", pyunion.rootfs)
    other.root, other.runroot = other.root.parent / root, other.root.parent / runroot
    other.root.mkdir(parents=True)
    assert other.output("echo", "hello") == "hello\n"
    assert other("run", "--host", "--name", "peep", "ls", tmp_path / "other").stdout == ""
    assert other.containers() == ["peep"]
    assert other("rm", "peep").returncode == 0


@pytest.mark.parametrize("program", [("mount", "-t", "overlay", "overlay"), PYUNIONFS], ids=["kernel's", "ours"])
def test_the_state_directory_may_be_on_a_union(tmp_path: Path, pyunion: Pyunion, program: tuple[str, ...]) -> None:
    """As where the root filesystem is that of an engine's container."""
    needs.kernel_overlayfs()
    for name in ("lower", "upper", "work", "place"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run([*program, "-o", options, tmp_path / "place"], check=True)
    try:
        other = Pyunion(tmp_path / "place", pyunion.rootfs)
        script = f"rm -r /usr/share/doc; ls -A {tmp_path}/place /usr/share/doc"
        seen = other("run", "--host", "--rm", "sh", "-c", script)
        assert seen.stdout == f"{tmp_path}/place:\n"
        assert "/usr/share/doc" in seen.stderr
    finally:
        wait_for("nobody uses it", lambda: subprocess.run(["umount", tmp_path / "place"], check=False).returncode == 0)


def test_root_of_a_user_namespace_is_told_what_to_do_instead(tmp_path: Path, pyunion: Pyunion) -> None:
    (tmp_path / "tree.tar").write_bytes(bytes(10240))
    for words in (("run", "--rm", "--rootfs", pyunion.rootfs, "true"), ("import", tmp_path / "tree.tar", "x:1")):
        result = subprocess.run(["unshare", "-rm", *pyunion.argv(*words)], capture_output=True, text=True, check=False)
        assert result.returncode == 125
        assert "root of a user namespace can't make containers and unpack images: run pyunion as" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert pyunion("images", "-q").stdout == ""


@pytest.mark.parametrize(("lacking", "complaint"), [("mknod", "/dev/null: "), ("net_admin", "interface lo: ")])
def test_root_without_a_capability_is_told_what_it_was_needed_for(
    pyunion: Pyunion, lacking: str, complaint: str
) -> None:
    """As in a container of another engine."""
    needs.commands("setpriv")
    words = pyunion.argv("run", "--rm", "--network=none", "--rootfs", pyunion.rootfs, "true")
    command = ["setpriv", f"--bounding-set=-{lacking}", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (125, f"pyunion run: {complaint}Operation not permitted\n")


def test_who_may_not_look_into_a_running_container_is_told_so(pyunion: Pyunion) -> None:
    needs.commands("setpriv")
    pyunion("run", "-d", "--name=one", "--network=none", "--rootfs", pyunion.rootfs, "sleep", "1000")
    for words in (("exec", "one", "true"), ("cp", "one:/etc/passwd", "-")):
        command = ["setpriv", "--bounding-set=-sys_ptrace", *pyunion.argv(*words)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        complaint = "container one can't be entered: it takes the capability SYS_PTRACE"
        assert (result.returncode, result.stderr) == (1, f"pyunion {words[0]}: {complaint}\n")


def test_an_image_with_devices_is_refused_by_their_name_where_none_can_be_made(
    tmp_path: Path, pyunion: Pyunion
) -> None:
    needs.commands("setpriv")
    (tmp_path / "tree/dev").mkdir(parents=True)
    os.mknod(tmp_path / "tree/dev/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    pyunion("import", tmp_path / "tree", "x:1")
    command = ["setpriv", "--bounding-set=-mknod", *pyunion.argv("run", "--rm", "--network=none", "x:1", "true")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 125
    assert result.stderr == "pyunion run: device 'dev/zero': Operation not permitted\n"


def test_on_a_full_disk_ends_are_recorded_and_containers_can_be_removed(tmp_path: Path, pyunion: Pyunion) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], check=True)
    other = Pyunion(place, pyunion.rootfs)
    fill = ("--rootfs", pyunion.rootfs, "sh", "-c", "cat /dev/zero > /big; exit 7")
    try:
        result = other("run", "--name=box", *fill)
        assert (result.returncode, result.stderr.count("No space left on device")) == (7, 1)
        assert other("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box").stdout == "exited 7\n"
        result = other("run", "--name=more", *fill)
        assert (result.returncode, result.stderr.count("\n")) == (125, 1)
        assert other.containers() == ["box"]
        assert (other("rm", "box").stdout, other("ps", "-aq").stdout) == ("box\n", "")
        assert other("run", "--rm", "--rootfs", pyunion.rootfs, "true").returncode == 0
    finally:
        subprocess.run(["umount", "-l", place], check=True)
