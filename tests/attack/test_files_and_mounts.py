"""Links, mounts and marks that an image or a running container plants, and where they don't lead."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attack.conftest import RACES, Pyunion, tree_hash
from tests.support import needs

pytestmark = needs.root


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that must stay as it is."""
    directory = tmp_path / "outside"
    (directory / "sub").mkdir(parents=True)
    (directory / "file").write_text("the host's\n")
    before = tree_hash(directory)
    yield directory
    assert tree_hash(directory) == before


@contextmanager
def running(pyunion: Pyunion, *arguments: str | Path) -> Iterator[str]:
    started = pyunion("run", "-d", *arguments)
    assert started.stderr == ""
    yield started.stdout.strip()
    pyunion("rm", "-f", started.stdout.strip())


def _flip(name: str, target: Path) -> str:
    """A shell's loop: `name` is a directory, then a link to `target`, then a directory again."""
    return f"while :; do mkdir {name} 2>/dev/null; rmdir {name}; ln -s {target} {name}; rm {name}; done 2>/dev/null"


def mounts(below: Path) -> list[str]:
    """What is mounted below a directory of the host."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {below}/" in line]


@pytest.mark.race
def test_a_mount_point_that_changes_into_a_link_leads_nowhere(pyunion: Pyunion, outside: Path, tmp_path: Path) -> None:
    """CVE-2021-30465: two containers share a volume; in one, a part of the other's mount point comes and goes."""
    shared = tmp_path / "shared"
    shared.mkdir()
    source = tmp_path / "source"
    source.mkdir()
    flip = f"cd /s; {_flip('x', outside)}"
    with running(pyunion, "-v", f"{shared}:/s", "--rootfs", pyunion.rootfs, "sh", "-c", flip):
        for _ in range(RACES):
            options = ("-v", f"{shared}:/s", "-v", f"{source}:/s/x/sub", "--tmpfs", "/s/x/file")
            result = pyunion.run(*options, "sh", "-c", "echo new > /s/x/sub/new; cat /proc/self/mountinfo")
            assert result.returncode in (0, 1, 125)
            assert not [line for line in result.stdout.splitlines() if str(outside) in line.split()[3]]
        assert mounts(tmp_path) == []
    assert not (outside / "sub/new").exists()


@pytest.mark.race
def test_directories_for_mounts_are_made_inside_alone(pyunion: Pyunion, outside: Path, tmp_path: Path) -> None:
    """CVE-2024-45310."""
    shared = tmp_path / "shared"
    shared.mkdir()
    flip = f"cd /s; {_flip('x', outside)}"
    with running(pyunion, "-v", f"{shared}:/s", "--rootfs", pyunion.rootfs, "sh", "-c", flip):
        for _ in range(RACES):
            pyunion.run("-v", f"{shared}:/s", "--tmpfs", "/s/x/made/deep", "-w", "/s/x/also", "true")
    assert sorted(os.listdir(outside)) == ["file", "sub"]


def test_a_null_device_of_the_image_is_not_what_masks(pyunion: Pyunion, layer: Path) -> None:
    """CVE-2025-31133: what covers /proc/kcore would be whatever /dev/null of the image is a link to."""
    (layer / "dev").mkdir()
    (layer / "dev/null").symlink_to("/proc/sysrq-trigger")
    script = "stat -c %t:%T /proc/kcore /proc/timer_list /dev/null; cat /proc/kcore | wc -c; ls /sys/firmware | wc -l"
    masks = [path for path in ("/proc/kcore", "/proc/timer_list") if Path(path).exists()]
    result = pyunion.run_on(layer, "sh", "-c", script)
    assert result.stdout.split() == ["1:3"] * (len(masks) + 1) + ["0", "0"]


@pytest.mark.parametrize("planted", ["dev/console", "dev/pts/0", "dev/pts", "dev/ptmx"])
def test_a_terminal_is_not_made_where_a_link_of_the_image_points(
    pyunion: Pyunion, layer: Path, outside: Path, planted: str
) -> None:
    """CVE-2025-52565."""
    (layer / planted).parent.mkdir(parents=True)
    (layer / planted).symlink_to(outside / "file")
    look = "tty; stat -c %t /dev/console"
    argv = pyunion.argv("run", "--rm", "-t", "--rootfs", f"{layer}:{pyunion.rootfs}", "sh", "-c", look)
    result = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30)
    assert result.stdout.split() == ["/dev/pts/0", "88"]


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "file"])
def test_where_the_kernels_filesystems_go_there_is_no_link(
    pyunion: Pyunion, layer: Path, outside: Path, name: str, kind: str
) -> None:
    """CVE-2019-19921, CVE-2023-27561, CVE-2026-41579: writes to /proc/self/attr would go to a file of the image's."""
    if kind == "file":
        (layer / name).write_text("")
    else:
        (layer / name).symlink_to(outside if kind == "absolute" else os.path.relpath(outside, "/"))
    result = pyunion.run_on(layer, "true")
    assert (result.returncode, result.stdout) == (125, "")
    assert f"cannot mount /{name} of the root filesystem" in result.stderr


@pytest.mark.parametrize("name", ["etc", "etc/hosts", "etc/hostname", "etc/resolv.conf", "run", "tmp"])
def test_links_at_other_places_of_ours_stay_inside(pyunion: Pyunion, layer: Path, outside: Path, name: str) -> None:
    (layer / name).parent.mkdir(parents=True, exist_ok=True)
    (layer / name).symlink_to(outside)
    pyunion.run_on(layer, "--tmpfs", "/run/x", "-v", f"{layer}:/tmp/x", "true")


@pytest.mark.parametrize("target", ["/proc", "/proc/self/attr", "/proc/sys/kernel", "/sys/fs", "/x/self"])
def test_nothing_is_mounted_over_proc_and_sys(pyunion: Pyunion, layer: Path, tmp_path: Path, target: str) -> None:
    """CVE-2019-16884, CVE-2025-52881: a /proc whose files aren't the kernel's."""
    (layer / "x").symlink_to("/proc")
    for option in (("-v", f"{tmp_path}:{target}"), ("--tmpfs", target)):
        result = pyunion.run_on(layer, *option, "true")
        assert (result.returncode, result.stdout) == (125, "")


def test_mounts_of_one_side_do_not_appear_on_the_other(pyunion: Pyunion, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "inside").mkdir(parents=True)
    (volume / "host").mkdir()
    script = "mount -t tmpfs none /v/inside && mount -t tmpfs none /mnt2 && sleep 1000"
    options = ("--cap-add", "sys_admin", "-v", f"{volume}:/v", "--tmpfs", "/mnt2", "--rootfs", pyunion.rootfs)
    with running(pyunion, *options, "sh", "-c", script) as name:
        subprocess.run(["mount", "-t", "tmpfs", "arrived", volume / "host"], check=True)
        try:
            inside = pyunion("exec", name, "cat", "/proc/self/mountinfo").stdout
        finally:
            subprocess.run(["umount", volume / "host"], check=True)
        assert " /v/inside " in inside
        assert "arrived" not in inside
        assert mounts(tmp_path) == []


def test_nothing_of_the_hosts_mounts_is_left_inside(pyunion: Pyunion) -> None:
    lines = [line.split() for line in pyunion.sh("cat /proc/self/mountinfo").splitlines()]
    assert {line[4].split("/")[1] for line in lines} <= {"", "proc", "sys", "dev", "etc"}
    assert all("shared:" not in word for line in lines for word in line)
    assert pyunion.run("umount", "-l", "/").returncode != 0


def test_device_nodes_of_a_layer_are_of_no_use(pyunion: Pyunion, layer: Path) -> None:
    os.mknod(layer / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    for user in ("root", "alice"):
        result = pyunion.run_on(layer, "-u", user, "head", "-c", "1", "/zero")
        assert (result.returncode, result.stdout) == (1, "")


@pytest.mark.parametrize("link", ["absolute", "relative"])
def test_a_layer_whose_directory_becomes_a_link_shows_nothing_of_the_host(
    pyunion: Pyunion, layer: Path, outside: Path, link: str
) -> None:
    """Someone with access to the layer swaps it while a container is inside, which has seen the directory."""
    (layer / "a/sub").mkdir(parents=True)
    (layer / "a/first").write_text("the layer's\n")
    look = "cd /a; cat first; read swapped; cat file /a/file sub/../file; ls /a/sub /a . 2>&1"
    argv = pyunion.argv("run", "--rm", "-i", "--rootfs", f"{layer}:{pyunion.rootfs}", "sh", "-c", look)
    popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert popen.stdout is not None
    assert popen.stdout.readline() == "the layer's\n"
    os.rename(layer / "a", layer / "b")
    os.symlink(outside if link == "absolute" else os.path.relpath(outside, layer), layer / "a")
    output, _ = popen.communicate("now\n", timeout=30)
    assert "the host's" not in output
    assert "file" not in output.split()


def test_marks_of_the_union_cannot_be_forged_inside(pyunion: Pyunion, layer: Path) -> None:
    """A deletion that a container writes itself would delete what layers below show after the next start."""
    needs.commands("setfattr")
    (layer / "d").mkdir()
    (layer / "d/kept").write_text("kept\n")
    marks = "mknod /d/node c 0 0; touch /d/.wh.kept /.wh.d /d/.wh..wh..opq; true"
    options = ("--name", "forger", "--cap-add", "mknod", "--rootfs", f"{layer}:{pyunion.rootfs}")
    started = pyunion("run", *options, "sh", "-c", marks)
    assert started.returncode in (0, 1)
    again = pyunion("start", "-a", "forger")
    assert again.returncode in (0, 1)
    assert pyunion("diff", "forger").stdout.count("D /d") == 0
    pyunion("cp", "forger:/d/kept", str(layer.parent / "out"))
    assert (layer.parent / "out").read_text() == "kept\n"
    pyunion("rm", "forger")


def test_hidden_attributes_can_be_neither_set_nor_seen(pyunion: Pyunion) -> None:
    program = (
        "import os\n"
        "open('/tmp/forged', 'w').close()\n"
        "for name in ('user.overlay.opaque', 'user.overlay.redirect', 'trusted.overlay.opaque',"
        " 'user.fuseoverlayfs.opaque', 'user.containers.override_stat'):\n"
        "    try: os.setxattr('/tmp/forged', name, b'y')\n"
        "    except OSError as error: pass\n"
        "    else: print('set', name)\n"
        "print(os.listxattr('/tmp/forged'))"
    )
    python = shutil.which("python3", path="/usr/bin") or "python3"
    result = pyunion("run", "--rm", "--host", python, "-I", "-S", "-c", program)
    assert "overlay.opaque" not in result.stdout.splitlines()[-1]
    assert "override_stat" not in result.stdout.splitlines()[-1]
    assert result.stderr == ""


@pytest.mark.race
def test_copying_follows_no_link_that_a_container_flips(pyunion: Pyunion, outside: Path, tmp_path: Path) -> None:
    """CVE-2018-15664: in both directions, while a component of the path comes and goes as a link to the host."""
    given = tmp_path / "given"
    given.write_text("given\n")
    flip = f"mkdir /w; cd /w; while :; do mkdir x; echo own >x/file; rm -r x; ln -s {outside} x; rm x; done 2>/dev/null"
    with running(pyunion, "--rootfs", pyunion.rootfs, "sh", "-c", flip) as name:
        for number in range(RACES):
            taken = tmp_path / f"taken{number}"
            pyunion("cp", f"{name}:/w/x/file", str(taken))
            assert not taken.is_file() or "the host's" not in taken.read_text()
            pyunion("cp", str(given), f"{name}:/w/x/given")
    assert sorted(os.listdir(outside)) == ["file", "sub"]


def test_labels_of_an_image_do_not_configure_the_runtime(pyunion: Pyunion) -> None:
    labels = ("run.oci.hooks.stdout=/x", "io.kubernetes.cri-o.userns-mode=host", "org.systemd.property.x=1")
    options = [word for label in labels for word in ("-l", label)]
    plain = pyunion.sh("grep Cap /proc/self/status; cat /proc/self/mountinfo | wc -l")
    assert pyunion.sh("grep Cap /proc/self/status; cat /proc/self/mountinfo | wc -l", *options) == plain


def test_the_root_filesystem_can_be_read_only(pyunion: Pyunion) -> None:
    script = "for d in / /etc /bin /root; do touch $d/new 2>/dev/null && echo $d; done; touch /tmp/x && echo tmp"
    assert pyunion.run("--read-only", "--tmpfs", "/tmp", "sh", "-c", script).stdout == "tmp\n"


def test_a_user_is_not_taken_for_the_process_of_the_machine_that_has_the_same_number(
    pyunion: Pyunion, public_path: Path
) -> None:
    """Number 1 in the container is the user's; the machine's is root's, who may see the attribute."""
    needs.commands("python3")
    (public_path / "file").touch()
    os.setxattr(public_path / "file", "trusted.secret", b"")
    command = ["python3", "-c", f"import os; print(os.listxattr('{public_path}/file'))"]
    assert pyunion("run", "--rm", "--host", "-u", "1000", *command).stdout == "[]\n"
    assert pyunion("run", "--rm", "--host", "--cap-add", "SYS_ADMIN", *command).stdout == "['trusted.secret']\n"
