"""`-v` and `--tmpfs`, and what planted symlinks can't do with them."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Pyunion


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "file").write_text("content\n")
    return directory


def test_a_volume_is_the_directory_itself(pyunion: Pyunion, source: Path) -> None:
    assert pyunion.sh("cat /mnt/data/file; echo new >/mnt/data/new", "-v", f"{source}:/mnt/data") == "content\n"
    assert (source / "new").read_text() == "new\n"


def test_a_read_only_volume_cannot_be_written(pyunion: Pyunion, source: Path) -> None:
    script = "cat /v/file; (echo x >/v/file) 2>&1 | grep -c Read-only"
    assert pyunion.sh(script, "-v", f"{source}:/v:ro") == "content\n1\n"
    assert (source / "file").read_text() == "content\n"


def test_read_only_holds_for_what_is_mounted_below_too(pyunion: Pyunion, source: Path) -> None:
    (source / "below").mkdir()
    script = f'mount -t tmpfs below {source}/below && exec "$@"'
    options = ("--rm", "--rootfs", pyunion.rootfs, "-v", f"{source}:/v:ro")
    argv = ["unshare", "-m", "sh", "-c", script, "sh", *pyunion.argv("run", *options, "sh", "-c", "echo x >/v/below/x")]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert result.returncode == 1
    assert "Read-only" in result.stderr


def test_a_file_can_be_a_volume(pyunion: Pyunion, source: Path) -> None:
    options = ("-v", f"{source}/file:/etc/passwd:ro", "-v", f"{source}/file:/new/place")
    assert pyunion.sh("cat /etc/passwd /new/place", *options) == "content\ncontent\n"


def test_volumes_may_lie_in_one_another_in_any_order(pyunion: Pyunion, source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "o").write_text("")
    (source / "sub").mkdir()
    assert pyunion.sh("ls /v /v/sub", "-v", f"{other}:/v/sub", "-v", f"{source}:/v") == "/v:\nfile\nsub\n\n/v/sub:\no\n"


@pytest.mark.parametrize("link", ["/", "/..", "../../../../../..", "/proc/1/root", "{outside}"])
def test_a_planted_symlink_as_target_stays_inside(
    pyunion: Pyunion, source: Path, tmp_path: Path, layer: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (layer / "trap").symlink_to(link.format(outside=outside))
    pyunion.run_on(layer, "-v", f"{source}:/trap/data", "true")
    assert list(outside.iterdir()) == []
    assert not Path("/data").exists()


def test_a_planted_absolute_symlink_means_the_containers_own(pyunion: Pyunion, source: Path, layer: Path) -> None:
    (layer / "trap").symlink_to("/home/../home/alice")
    result = pyunion.run_on(layer, "-v", f"{source}:/trap", "cat", "/home/alice/file")
    assert result.stdout == "content\n"


@pytest.mark.parametrize("target", ["/proc", "/proc/self/attr", "/sys/kernel", "/proc/sys"])
def test_no_volume_over_the_kernels_files(pyunion: Pyunion, source: Path, target: str) -> None:
    result = pyunion.run("-v", f"{source}:{target}", "true")
    assert result.returncode == 125
    assert target in result.stderr


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "etc"])
def test_a_symlink_where_we_mount_does_not_lead_out(pyunion: Pyunion, tmp_path: Path, layer: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (layer / name).symlink_to(outside)
    result = pyunion.run_on(layer, "true")
    assert result.returncode == (0 if name == "etc" else 125)
    assert list(outside.iterdir()) == []


def test_resolv_conf_as_a_link_out_stays_inside(pyunion: Pyunion, tmp_path: Path, layer: Path) -> None:
    (layer / "etc").mkdir()
    (layer / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (layer / "etc/hosts").symlink_to(tmp_path / "planted")
    result = pyunion.run_on(layer, "cat", "/run/systemd/resolve/stub-resolv.conf")
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "planted").exists()


def test_tmpfs_is_empty_and_has_its_options(pyunion: Pyunion) -> None:
    script = """ls -A /home; stat -c %a /home; grep ' /home ' /proc/mounts
        dd if=/dev/zero of=/home/x bs=1M count=2 2>&1 | grep -c 'No space'"""
    mode, mount, full = pyunion.sh(script, "--tmpfs", "/home:size=1m,mode=700,exec").splitlines()
    assert (mode, full) == ("700", "1")
    options = set(mount.split()[3].split(","))
    assert {"nosuid", "nodev", "size=1024k", "mode=700"} <= options
    assert "noexec" not in options


def test_tmpfs_is_noexec_by_default(pyunion: Pyunion) -> None:
    assert pyunion.run("--tmpfs", "/t", "sh", "-c", "cp /bin/busybox /t/true; /t/true").returncode == 126


def test_devices_of_a_layer_do_not_work(pyunion: Pyunion, layer: Path) -> None:
    os.mknod(layer / "zero", 0o20666, os.makedev(1, 5))
    result = pyunion.run_on(layer, "head", "-c1", "/zero")
    assert result.returncode == 1
    assert "denied" in result.stderr
