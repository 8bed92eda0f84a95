"""The verbs on images as people use them, with the real tools on the other side."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from runtime.trees import remove_tree
from tests.image_store.conftest import Command, busybox
from tests.image_store.layouts import archive, make_layout, member
from tests.support import needs

pytestmark = needs.root


def test_run_uses_what_the_image_says(pyunion: Command, layout: Path) -> None:
    name = "example.org/test:1"
    pyunion("load", "-i", layout)
    assert pyunion("run", "--rm", name).split() == ["1000", "/srv/app", "image"]
    assert pyunion("run", "--rm", "-e", "FROM=me", "-u", "0", "-w", "/etc", name).split() == ["0", "/etc", "me"]
    assert pyunion("run", "--rm", "--entrypoint", "ls", name, "-d", "/data", "/etc").split() == ["/data", "/etc"]
    assert "old" not in pyunion("run", "--rm", name, "ls", "/etc").split()
    assert pyunion("run", "--rm", f"oci:{layout}:{name}", "id", "-u") == "1000\n"


def test_run_of_what_is_not_there(pyunion: Command, layout: Path) -> None:
    pyunion("load", "-i", layout)
    assert "no such image" in pyunion("run", "--pull", "never", "nowhere/nothing:1", status=125)
    foreign = ("run", "--pull=never", "--platform=arm64", "example.org/test:1")
    assert "is here for linux/amd64" in pyunion(*foreign, status=125)
    assert "unknown --pull" in pyunion("run", "--pull", "sometimes", "example.org/test:1", status=125)


def test_what_is_no_unicode_in_a_configuration_is_what_go_makes_of_it(pyunion: Command, tmp_path: Path) -> None:
    config = {"Env": ["LONE=\ud800", "PAIR=\U0001f600"], "Cmd": ["/bin/busybox", "env"]}
    pyunion("load", make_layout(tmp_path / "layout", [busybox()], config=config))
    assert {"LONE=\ufffd", "PAIR=\U0001f600"} <= set(pyunion("run", "--rm", "example.org/test:1").splitlines())
    assert '"LONE=\ufffd"' in pyunion("inspect", "-f", "{{json .Config.Env}}", "example.org/test:1")


def test_archives_of_the_real_tools_come_in(pyunion: Command, layout: Path, tmp_path: Path) -> None:
    needs.commands("skopeo")
    for form in ("docker-archive", "oci-archive"):
        target = f"{form}:{tmp_path}/{form}.tar:example.org/{form}:1"
        subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:example.org/test:1", target], check=True)
        data = Path(tmp_path, f"{form}.tar").read_bytes()
        assert f"example.org/{form}:1" in pyunion("load", "-i", tmp_path / f"{form}.tar")
        assert f"example.org/{form}:1" in pyunion("load", stdin=data)
        for compress in (gzip.compress, bz2.compress, lzma.compress):
            assert f"example.org/{form}:1" in pyunion("load", stdin=compress(data))
        assert pyunion("run", "--rm", f"{form}:{tmp_path}/{form}.tar", "id", "-u") == "1000\n"
        assert pyunion("run", "--rm", f"example.org/{form}:1", "id", "-u") == "1000\n"


def test_load_takes_places_as_run_does(pyunion: Command, tmp_path: Path) -> None:
    folder = tmp_path / "with:colon"
    make_layout(folder, [archive([member("file")])], name="example.org/test:1")
    assert "Loaded image: example.org/test:1" in pyunion("load", f"oci:{folder}")
    assert "Loaded image: example.org/test:1" in pyunion("load", f"oci:{folder}:example.org/test:1")
    pyunion("save", "-o", tmp_path / "saved.tar", "example.org/test:1")
    for transport in ("docker-archive", "oci-archive"):
        assert "Loaded image: example.org/test:1" in pyunion("load", f"{transport}:{tmp_path}/saved.tar")
    pyunion("tag", "example.org/test:1", "other:2")
    pyunion("save", "-o", tmp_path / "both.tar", "example.org/test:1", "other:2")
    subprocess.run(["cp", tmp_path / "both.tar", tmp_path / "docker.tar"], check=True)
    subprocess.run(["tar", "--delete", "-f", tmp_path / "docker.tar", "index.json", "oci-layout"], check=True)
    for name in ("both", "docker"):
        pyunion("rmi", "example.org/test:1", "other:2")
        loaded = pyunion("load", "-i", tmp_path / f"{name}.tar")
        assert sorted(loaded.splitlines()) == ["Loaded image: example.org/test:1", "Loaded image: other:2"]
    assert "no image 'other:1' there" in pyunion("load", f"oci:{folder}:other:1", status=1)
    assert "No such file" in pyunion("load", f"oci:{tmp_path}/nowhere", status=125)


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_an_image_elsewhere_may_be_named_as_people_write_it(
    pyunion: Command, layout: Path, tmp_path: Path, form: str
) -> None:
    pyunion("load", layout)
    pyunion("tag", "example.org/test:1", "other")
    pyunion("save", "--format", form, "-o", tmp_path / "out.tar", "other")
    for name in ("other", "other:latest", "docker.io/library/other:latest"):
        assert pyunion("load", f"{form}:{tmp_path}/out.tar:{name}") == "Loaded image: other:latest\n"
    error = pyunion("load", f"{form}:{tmp_path}/out.tar:none", status=1)
    assert error.endswith(": no image 'none' there; there are: docker.io/library/other:latest\n")


def test_what_goes_out_the_real_tools_accept(pyunion: Command, layout: Path, tmp_path: Path) -> None:
    needs.commands("skopeo", "umoci", "podman")
    pyunion("load", layout)
    pyunion("run", "--name", "c", "-u", "0", "-w", "/", "example.org/test:1", "sh", "-c",
            "echo new > /etc/new; ln /etc/new /etc/hard; rm /etc/group")  # fmt: skip
    pyunion("commit", "c", "example.org/made:1", "-m", "a note", "-c", 'CMD ["ls", "/etc"]', "--change", "ENV A=b")
    made = json.loads(pyunion("inspect", "example.org/made:1"))[0]
    assert made["Config"]["Env"] == ["PATH=/bin", "FROM=image", "A=b"]
    assert made["Config"]["StopSignal"] == "SIGUSR1"
    assert made["History"][-1]["comment"] == "a note"
    pyunion("save", "-o", tmp_path / "out.tar", "example.org/made:1", "example.org/test:1")
    with tarfile.open(tmp_path / "out.tar") as saved:
        assert {"oci-layout", "index.json", "manifest.json"} <= set(saved.getnames())
    for source in (f"docker-archive:{tmp_path}/out.tar", f"oci:{tmp_path}/root/images"):
        subprocess.run(
            ["skopeo", "copy", "-q", f"{source}:example.org/made:1", f"oci:{tmp_path}/copy:made"], check=True
        )
    subprocess.run(["umoci", "raw", "unpack", "--image", f"{tmp_path}/copy:made", tmp_path / "tree"], check=True)
    assert (tmp_path / "tree/etc/hard").read_text() == "new\n"
    assert not (tmp_path / "tree/etc/group").exists()
    assert os.path.samefile(tmp_path / "tree/etc/new", tmp_path / "tree/etc/hard")
    storage = tempfile.mkdtemp(prefix="pu-", dir="/tmp")  # podman takes 50 characters at most
    try:
        _podman_runs(storage, str(tmp_path / "out.tar"))
    finally:
        remove_tree(storage)


def _podman_runs(storage: str, saved: str) -> None:
    podman = ["podman", f"--root={storage}/s", f"--runroot={storage}/r", "--storage-driver=vfs"]
    podman += ["--cgroup-manager=cgroupfs", "--events-backend=file"]
    subprocess.run([*podman, "load", "-qi", saved], check=True, capture_output=True)
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
    command = [*podman, "--runtime", "runc", "run", "--rm", "--network=none", *limits, "example.org/made:1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "hard" in result.stdout.split(), result.stderr


def test_export_and_import_go_round(pyunion: Command, layout: Path, tmp_path: Path) -> None:
    needs.commands("skopeo")
    pyunion("load", layout)
    pyunion("run", "--name", "c", "-u", "0", "example.org/test:1", "sh", "-c", "echo new > /etc/new")
    pyunion("export", "-o", tmp_path / "c.tar", "c")
    with tarfile.open(tmp_path / "c.tar") as exported:
        assert exported.getmember("etc/new").size == 4
    pyunion("import", tmp_path / "c.tar", "again:1", "-c", "ENV PATH=/bin")
    assert pyunion("run", "--rm", "again:1", "cat", "/etc/new") == "new\n"
    exported_bytes = (tmp_path / "c.tar").read_bytes()
    for compress, packed in ((gzip.compress, "gzip"), (bz2.compress, "gzip"), (lzma.compress, "gzip"), (bytes, "tar")):
        pyunion("import", "-", "piped:1", "-c", "ENV PATH=/bin", stdin=compress(exported_bytes))
        assert pyunion("run", "--rm", "piped:1", "cat", "/etc/new") == "new\n"
        raw = ["skopeo", "inspect", "--raw", f"oci:{tmp_path}/root/images:docker.io/library/piped:1"]
        manifest = json.loads(subprocess.run(raw, check=True, capture_output=True).stdout)
        assert manifest["layers"][0]["mediaType"].endswith(packed)


def test_equal_trees_make_equal_layers(pyunion: Command, tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "d").mkdir(parents=True)
        for file in ("b", "a", "d/x"):
            (folder / file).write_text(file)
            os.utime(folder / file, ns=(0, 123_456_789_000))
        for directory in ("d", "."):
            os.utime(folder / directory, ns=(0, 5))
        pyunion("import", folder, f"{name}:1")
    layers = [json.loads(pyunion("inspect", f"{name}:1"))[0]["RootFS"]["Layers"] for name in ("one", "two")]
    assert layers[0] == layers[1]
