"""Images as the real tools make them: umoci's layers, skopeo's zstd, Buildah's index for several platforms."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs

LAYERS = 30
APPLETS = ("sh", "cat", "echo", "ls", "true")


def tool(*arguments: object, **environ: str) -> str:
    """Run a program that must end well; its output."""
    done = subprocess.run(
        [str(argument) for argument in arguments], env={**os.environ, **environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, f"{arguments[0]}: {done.stderr}"
    return done.stdout


def make_layout(folder: Path) -> Path:
    """An OCI layout with the images `many` (30 layers), `zstd`, and `amd64` and `arm64`, which are alike."""
    needs.commands("umoci", "skopeo", "busybox")
    _make_tree(folder / "tree")
    layout = folder / "layout"
    tool("umoci", "init", "--layout", layout)
    tool("umoci", "new", "--image", f"{layout}:many")
    add_layer(layout, "many", folder / "tree")
    (folder / "change/data").mkdir(parents=True)
    for number in range(1, LAYERS):
        file = folder / f"change/data/{number}"
        file.write_text(f"{number}\n")
        add_layer(layout, "many", folder / "change")
        file.unlink()
    run = ["--config.cmd", "/bin/sh", "--config.env", "PATH=/bin"]
    tool("umoci", "config", "--image", f"{layout}:many", "--architecture", _architecture(), *run)
    for architecture in ("amd64", "arm64"):
        tool("umoci", "config", "--image", f"{layout}:many", "--tag", architecture, "--architecture", architecture)
    zstd = ["--dest-compress", "--dest-compress-format", "zstd"]
    tool("skopeo", "copy", "-q", *zstd, f"oci:{layout}:many", f"oci:{folder}/zstd:zstd")
    return layout


def add_layer(layout: Path, tag: str, tree: Path) -> None:
    """One more layer on an image of a layout: all that is in `tree`."""
    archive = layout.parent / "layer.tar"
    tool("tar", "-C", tree, "--owner=0", "--group=0", "-cf", archive, ".")
    tool("umoci", "raw", "add-layer", "--image", f"{layout}:{tag}", archive)


def publish(layout: Path, host: str, name: str, tag: str, *options: str) -> None:
    """Have skopeo send an image of a layout to a plain registry."""
    tool("skopeo", "copy", "-q", "--dest-tls-verify=false", *options, f"oci:{layout}:{tag}", f"docker://{host}/{name}")


def publish_index(folder: Path, layout: Path, host: str, name: str) -> None:
    """Have Buildah make an index of `amd64` and `arm64`, and send it."""
    needs.commands("buildah")
    buildah = ["buildah", "--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs"]
    tool(*buildah, "manifest", "create", "both")
    for architecture in ("amd64", "arm64"):
        tool(*buildah, "manifest", "add", "both", f"oci:{layout}:{architecture}")
    tool(*buildah, "manifest", "push", "--all", "--tls-verify=false", "both", f"docker://{host}/{name}")


def podman(folder: Path) -> Iterator[list[str]]:
    """A podman of its own; the beginning of its command lines."""
    needs.superuser()
    needs.commands("podman", "runc")
    configuration = folder / "containers.conf"
    configuration.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\nnetns = "none"\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )
    storage = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
    yield ["env", f"CONTAINERS_CONF={configuration}", "podman", *storage]
    shutil.rmtree(folder, ignore_errors=True)


def _make_tree(tree: Path) -> None:
    (tree / "bin").mkdir(parents=True)
    program = shutil.which("busybox", path=needs.search_path())
    if program is None:
        pytest.fail("no busybox")
    shutil.copy(program, tree / "bin/busybox")
    for name in APPLETS:
        (tree / "bin" / name).symlink_to("busybox")


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
