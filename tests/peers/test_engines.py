"""What Podman and Buildah do with a mount program: run, stop and start, diff, commit, build."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.peers.conftest import Engine
from tests.support import needs

pytestmark = [pytest.mark.peers, pytest.mark.slow, needs.root]

CHANGES = """
    echo changed > /data/0
    rm /data/1
    chmod 600 /data/2
    mkdir /made
    echo new > /made/new
    mv /data /moved
"""


def layer_names(image: Path) -> list[list[str]]:
    """What the layers of an OCI layout hold, lowest first."""
    index = json.loads((image / "index.json").read_text())

    def blob(digest: str) -> Path:
        return image / "blobs" / digest.replace(":", "/")

    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    found = []
    for layer in manifest["layers"]:
        with tarfile.open(blob(layer["digest"])) as tar:
            found.append(sorted(tar.getnames()))
    return found


def test_podman_runs_a_container_on_our_mount(podman: Engine) -> None:
    said = podman("run", "--rm", "localhost/box", "sh", "-c", "cat /data/1; grep ' / / ' /proc/self/mountinfo")
    assert said.startswith("1\n")
    assert " - fuse.pyunionfs " in said


def test_podman_tells_the_error_of_the_mount_program(podman: Engine) -> None:
    (podman.top / "pyunionfs").write_text('#!/bin/sh\necho "pyunionfs: something is wrong" >&2; exit 1\n')
    assert "pyunionfs: something is wrong" in podman("run", "--rm", "localhost/box", "true", ok=False)


def test_a_container_keeps_its_changes_when_it_is_started_again(podman: Engine) -> None:
    podman("run", "--name", "one", "localhost/box", "sh", "-c", "echo again >> /log; cat /log")
    for turn in range(2, 6):
        assert podman("start", "--attach", "one") == "again\n" * turn


def test_podman_sees_what_a_container_changed(podman: Engine) -> None:
    podman("run", "--name", "one", "localhost/box", "sh", "-ec", CHANGES)
    changed = set(podman("diff", "one").splitlines())
    assert {"D /data", "A /made", "A /made/new", "A /moved", "A /moved/0", "A /moved/2"} <= changed
    assert not any(line.endswith(("/bin", "/bin/busybox", "/moved/1")) for line in changed)


def test_a_committed_image_has_the_changes_and_no_more(podman: Engine) -> None:
    needs.commands("skopeo")
    podman("run", "--name", "one", "localhost/box", "sh", "-ec", CHANGES)
    podman("commit", "--quiet", "one", "localhost/changed")
    script = "ls / /moved; cat /moved/0 /made/new; stat -c %a /moved/2"
    said = podman("run", "--rm", "localhost/changed", "sh", "-c", script).split()
    assert {"made", "moved", "0", "2", "changed", "new", "600"} <= set(said)
    assert not {"data", "1"} & set(said)
    podman("push", "--quiet", "localhost/changed", f"oci:{podman.top}/out:latest")
    _, top = layer_names(podman.top / "out")
    assert {".wh.data", "made/new", "moved/0", "moved/2"} <= set(top)
    assert not [name for name in top if name.startswith("bin")]


def test_podman_builds_an_image(podman: Engine) -> None:
    (podman.top / "Containerfile").write_text(
        "FROM localhost/box\n"
        "RUN echo built > /built && rm /data/1\n"
        "RUN mkdir /deep && touch /deep/file && chmod 700 /deep\n"
        "RUN rm -r /data && mkdir /data && echo other > /data/new\n"
        "COPY box.txt /copied\n"
    )
    (podman.top / "box.txt").write_text("copied\n")
    podman("build", "--network", "none", "--quiet", "--tag", "localhost/built", ".")
    said = podman("run", "--rm", "localhost/built", "sh", "-c", "cat /built /copied; ls /data; stat -c %a /deep")
    assert said.split() == ["built", "copied", "new", "700"]


def test_an_image_is_mounted_read_only(podman: Engine) -> None:
    point = Path(podman("image", "mount", "localhost/box").strip())
    try:
        assert sorted(os.listdir(point / "data")) == ["0", "1", "2"]
        with pytest.raises(OSError, match="Read-only"):
            (point / "new").touch()
    finally:
        podman("image", "unmount", "localhost/box")


def test_an_overlay_volume(podman: Engine) -> None:
    """Podman mounts it with ours too; the source stays as it is."""
    source = podman.top / "source"
    source.mkdir()
    (source / "file").write_text("source\n")
    script = "cat /v/file; echo x > /v/file; rm /v/file; touch /v/new; ls /v"
    said = podman("run", "--rm", "-v", f"{source}:/v:O", "localhost/box", "sh", "-c", script)
    assert said == "source\nnew\n"
    assert [path.name for path in source.iterdir()] == ["file"]


def test_stopping_a_container_unmounts(podman: Engine) -> None:
    podman("run", "--detach", "--name", "one", "localhost/box", "sh", "-c", "while :; do sleep 1; done")
    podman("stop", "--time", "0", "one")
    assert f"{podman.top}/root/overlay/" not in Path("/proc/self/mountinfo").read_text().replace("/overlay type", "")


def test_buildah_makes_an_image_step_by_step(buildah: Engine, podman: Engine) -> None:
    container = buildah("from", "--pull-never", "localhost/box").strip()
    try:
        buildah("run", "--network", "none", container, "--", "sh", "-ec", CHANGES)
        point = Path(buildah("mount", container).strip())
        assert sorted(os.listdir(point / "moved")) == ["0", "2"]
        (point / "from-outside").write_text("outside\n")
        buildah("umount", container)
        buildah("commit", "--quiet", container, "localhost/stepped")
    finally:
        buildah("rm", container)
    said = podman("run", "--rm", "localhost/stepped", "sh", "-c", "cat /from-outside /moved/0; ls /")
    assert said.split()[:2] == ["outside", "changed"]
    assert "data" not in said.split()


def test_fuse_overlayfs_and_ours_read_the_same_storage(podman: Engine) -> None:
    """What a container changed under one mount program is there under the other."""
    needs.commands("fuse-overlayfs")
    podman("run", "--name", "one", "localhost/box", "sh", "-ec", CHANGES)
    ours = (podman.top / "pyunionfs").read_text()
    listing = "ls / /moved; cat /moved/0"
    podman("commit", "--quiet", "one", "localhost/changed")
    expected = podman("run", "--rm", "localhost/changed", "sh", "-c", listing)
    (podman.top / "pyunionfs").write_text('#!/bin/sh\nexec fuse-overlayfs "$@"\n')
    assert podman("run", "--rm", "localhost/changed", "sh", "-c", listing) == expected
    (podman.top / "pyunionfs").write_text(ours)
    assert podman("run", "--rm", "localhost/changed", "sh", "-c", listing) == expected


OWNERS = "stat -c '%u:%g %a' /data/0 /data/1 /made"


def test_a_container_whose_ids_are_mapped(podman: Engine) -> None:
    """This Podman maps the layers by their mount and asks for uidmapping too: everything is mapped once."""
    maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]
    script = f"chown 5:6 /data/0; chmod 4711 /data/0; mkdir /made; chown 7:8 /made; {OWNERS}"
    wanted = "5:6 4711\n0:0 644\n7:8 755\n"
    assert podman("run", "--name", "one", *maps, "localhost/box", "sh", "-ec", script) == wanted
    podman("commit", "--quiet", "one", "localhost/changed")
    assert podman("run", "--rm", "localhost/changed", "sh", "-c", OWNERS) == wanted
    assert podman("run", "--rm", *maps, "localhost/changed", "sh", "-c", OWNERS) == wanted
    podman("rm", "one", ok=False)  # with mapped ids it may find its /dev/shm busy, on any mount program, and does it


def test_a_container_whose_owners_are_in_xattrs(podman: Engine) -> None:
    """force_mask: nothing in the storage is set-id or another's, and the container doesn't notice."""
    masked = Engine("podman", podman.top, ("--storage-opt", "overlay.force_mask=700"))
    masked("import", podman.top / "box.tar", "localhost/masked")
    script = f"chown 5:6 /data/0; chmod 4711 /data/0; mkdir /made; chown 7:8 /made; {OWNERS}"
    wanted = "5:6 4711\n0:0 644\n7:8 755\n"
    assert masked("run", "--name", "one", "localhost/masked", "sh", "-ec", script) == wanted
    masked("commit", "--quiet", "one", "localhost/changed")
    unpacked = wanted.replace("4711", "711")  # unpacking drops set-id bits from what it writes into the xattr
    assert masked("run", "--rm", "localhost/changed", "sh", "-c", OWNERS) == unpacked
    beneath = [path.lstat() for path in (podman.top / "root/overlay").glob("*/diff/data/*")]
    assert {(st.st_uid, st.st_gid, st.st_mode & 0o6000) for st in beneath} == {(0, 0, 0)}
