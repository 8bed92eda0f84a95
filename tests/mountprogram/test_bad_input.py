"""Bad input: one clear line that names the culprit and the way out, a status, and nothing mounted or changed."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mountprogram.conftest import Stage, mounts_under
from tests.support import needs
from tests.support.mounts import escape
from tests.support.tree import assert_same_tree

pytestmark = needs.root


def refused(stage: Stage, *arguments: str, culprit: str, way_out: str) -> str:
    """Run pyunionfs with `arguments`, which it must refuse; the result is the line it printed.

    `culprit` is in that line as it stands, `way_out` is a pattern for what it advises.
    """
    tree, mounts = stage.snapshot(), mounts_under(stage.top)
    result = stage.run(*arguments)
    assert result.returncode != 0, "it should have been refused"
    assert mounts_under(stage.top) == mounts
    assert_same_tree(tree, stage.snapshot())
    assert result.stdout == ""
    assert re.fullmatch(r"pyunionfs: [^\n]+\n", result.stderr), f"not one line: {result.stderr!r}"
    assert culprit in result.stderr
    assert re.search(way_out, result.stderr), f"no way out in {result.stderr!r}"
    stage.wait_for_drivers()
    return result.stderr


def test_a_missing_layer(stage: Stage) -> None:
    missing = f"{stage.top}/nowhere"
    options = f"lowerdir={stage.top}/a:{missing},{stage.writable}"
    refused(stage, "-o", options, str(stage.point), culprit=missing, way_out="create it|correct the path")


def test_a_layer_that_is_a_file(stage: Stage) -> None:
    culprit = f"{stage.top}/a/from-a"
    options = f"lowerdir={culprit}:{stage.top}/b"
    refused(stage, "-o", options, str(stage.point), culprit=culprit, way_out="directory")


def test_a_layer_that_may_not_be_read(stage: Stage) -> None:
    needs.commands("setpriv")
    os.chown(stage.top / "b", 1234, 1234)
    (stage.top / "b").chmod(0o700)
    stage.prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
    refused(stage, "-o", stage.options, str(stage.point), culprit=f"{stage.top}/b", way_out="[Pp]ermission|read")


@pytest.mark.parametrize("layer", ["upper", "work"])
def test_a_missing_upper_or_workdir(stage: Stage, layer: str) -> None:
    (stage.top / layer).rmdir()
    refused(stage, "-o", stage.options, str(stage.point), culprit=f"{stage.top}/{layer}", way_out="create it")


def test_an_upper_that_is_a_file(stage: Stage) -> None:
    (stage.top / "upper").rmdir()
    (stage.top / "upper").write_text("")
    refused(stage, "-o", stage.options, str(stage.point), culprit=f"{stage.top}/upper", way_out="directory")


def test_an_upper_without_workdir(stage: Stage) -> None:
    options = f"lowerdir={stage.top}/a,upperdir={stage.top}/upper"
    refused(stage, "-o", options, str(stage.point), culprit="upper", way_out="workdir")


@pytest.mark.parametrize(
    "arrange",
    [
        pytest.param(lambda top: (f"{top}", f"{top}/upper", f"{top}/work"), id="upper in a lower"),
        pytest.param(lambda top: (f"{top}/a", f"{top}/a", f"{top}/work"), id="upper is a lower"),
        pytest.param(lambda top: (f"{top}/upper/in", f"{top}/upper", f"{top}/work"), id="lower in the upper"),
    ],
)
def test_upper_and_lower_that_overlap(stage: Stage, arrange: Callable[[Path], tuple[str, str, str]]) -> None:
    (stage.top / "upper/in").mkdir()
    lower, upper, workdir = arrange(stage.top)
    options = f"lowerdir={lower},upperdir={upper},workdir={workdir}"
    refused(stage, "-o", options, str(stage.point), culprit=upper, way_out="inside|same|overlap|outside|another")


@pytest.mark.parametrize("workdir", ["upper", "upper/in", "a/in"])
def test_a_workdir_inside_a_layer(stage: Stage, workdir: str) -> None:
    (stage.top / workdir).mkdir(exist_ok=True)
    options = f"lowerdir={stage.top}/a,upperdir={stage.top}/upper,workdir={stage.top}/{workdir}"
    culprit = f"{stage.top}/{workdir}"
    refused(stage, "-o", options, str(stage.point), culprit=culprit, way_out="side by side|move it out")


def test_a_workdir_on_another_filesystem(stage: Stage) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(stage.top / "work")], check=True)
    refused(stage, "-o", stage.options, str(stage.point), culprit=f"{stage.top}/work", way_out="same file ?system")


def test_an_upper_that_is_mounted_already(stage: Stage) -> None:
    """Rule 86."""
    (stage.top / "second").mkdir()
    stage.mount("-o", stage.options, str(stage.point))
    result = stage.run("-o", stage.options, str(stage.top / "second"))
    assert result.returncode != 0
    assert re.fullmatch(rf"pyunionfs: [^\n]*{re.escape(str(stage.top))}/(upper|work)[^\n]*use[^\n]*\n", result.stderr)
    assert mounts_under(stage.top) == [str(stage.point)]
    assert (stage.point / "from-a").read_text() == "a", "the first mount lives on"


def test_a_workdir_that_serves_another_upper(stage: Stage) -> None:
    for name in ("second", "other"):
        (stage.top / name).mkdir()
    stage.mount("-o", stage.options, str(stage.point))
    options = f"lowerdir={stage.top}/a,upperdir={stage.top}/other,workdir={stage.top}/work"
    result = stage.run("-o", options, str(stage.top / "second"))
    assert result.returncode != 0
    assert re.fullmatch(rf"pyunionfs: [^\n]*{re.escape(str(stage.top))}/work[^\n]*use[^\n]*\n", result.stderr)
    assert mounts_under(stage.top) == [str(stage.point)]


def test_a_mount_point_in_use(stage: Stage) -> None:
    stage.mount("-o", f"lowerdir={stage.top}/a", str(stage.point))
    result = stage.run("-o", f"lowerdir={stage.top}/b", str(stage.point))
    assert result.returncode != 0
    assert re.fullmatch(rf"pyunionfs: [^\n]*{re.escape(str(stage.point))}[^\n]*\n", result.stderr)
    assert re.search("umount|unmount|another", result.stderr)
    assert mounts_under(stage.top) == [str(stage.point)]
    assert [path.name for path in stage.point.iterdir()] == ["from-a"]


def test_a_missing_mount_point(stage: Stage) -> None:
    stage.point.rmdir()
    refused(stage, "-o", stage.options, str(stage.point), culprit=str(stage.point), way_out="create it")


def test_a_mount_point_that_is_a_file(stage: Stage) -> None:
    stage.point.rmdir()
    stage.point.write_text("")
    refused(stage, "-o", stage.options, str(stage.point), culprit=str(stage.point), way_out="directory")


def test_no_mount_point(stage: Stage) -> None:
    refused(stage, "-o", stage.options, culprit="mount point", way_out="MOUNTPOINT|usage|--help")


def test_no_fuse_device(stage: Stage) -> None:
    needs.commands("unshare")
    bare_dev = """
        mkdir "$0/dev" && mount -t tmpfs tmpfs "$0/dev" && cd "$0/dev" && cp -a /dev/null /dev/urandom /dev/zero . &&
        mount --move "$0/dev" /dev && rmdir "$0/dev" && cd "$0" && exec "$@"
    """
    stage.prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", bare_dev, str(stage.top)]
    os.utime(stage.top, ns=(0, 0))
    tree = stage.snapshot()
    result = stage.run("-o", stage.options, str(stage.point))
    assert result.returncode != 0
    assert re.fullmatch(r"pyunionfs: [^\n]*/dev/fuse[^\n]*modprobe[^\n]*\n", result.stderr)
    assert_same_tree(tree, stage.snapshot(), skip=lambda path: path == ".")


def test_no_permission_to_mount(stage: Stage) -> None:
    needs.commands("setpriv")
    stage.prefix = ["setpriv", "--bounding-set", "-sys_admin", "--"]
    refused(stage, "-o", stage.options, str(stage.point), culprit=str(stage.point), way_out="CAP_SYS_ADMIN")


@pytest.mark.parametrize("option", ["nonsense", "nonsense=1", "metacopy=maybe", "squash_to_uid=me", "uidmapping=1:2"])
def test_an_option_that_is_unknown_or_has_no_such_value(stage: Stage, option: str) -> None:
    name = option.partition("=")[0]
    refused(stage, "-o", f"{stage.options},{option}", str(stage.point), culprit=name, way_out=name)


@pytest.mark.parametrize(("option", "example"), [("upperdir", "upperdir=DIR"), ("fsname", "fsname=NAME")])
def test_an_option_without_its_value(stage: Stage, option: str, example: str) -> None:
    refused(stage, "-o", f"{stage.options},{option}", str(stage.point), culprit=option, way_out=example)


def test_remount_tells_what_can_be_changed_of_a_mount(stage: Stage) -> None:
    refused(stage, "-o", f"{stage.options},remount,ro", str(stage.point), culprit="remount", way_out="remount,bind")
    stage.mount("-o", stage.options, str(stage.point))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(stage.point)], check=True)
    with pytest.raises(OSError, match="Read-only file system"):
        (stage.point / "new").write_text("")


@pytest.mark.parametrize("argument", ["--nonsense", "-Z"])
def test_an_argument_that_is_unknown(stage: Stage, argument: str) -> None:
    refused(stage, argument, "-o", stage.options, str(stage.point), culprit=argument, way_out="--help|usage")


@pytest.mark.parametrize("options", ["", "lowerdir=", "lowerdir=:"])
def test_an_empty_stack(stage: Stage, options: str) -> None:
    refused(stage, "-o", options, str(stage.point), culprit="lowerdir", way_out="lowerdir=")


@pytest.mark.parametrize("name", ["new\nline", "back\\slash", "co:lon", "com,ma", "\udcff\udcfe", "\x1b[31mred"])
def test_a_missing_layer_with_an_odd_name_is_told_in_one_printable_line(stage: Stage, name: str) -> None:
    options = f"lowerdir={escape(stage.top / name)}"
    line = refused(stage, "-o", options, str(stage.point), culprit=str(stage.top), way_out="create it|correct the path")
    assert line.rstrip("\n").isprintable()
