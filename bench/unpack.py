"""How long a real layer of some hundred MB takes to unpack: ours, umoci, tar, and skopeo with tar."""

import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contest import Action, contest
from bench.workload import run
from runtime.trees import remove_tree

_SOURCES = ("usr/lib", "usr/bin", "usr/share")
_MOST_BYTES = 200 << 20
_OURS = """
import os, sys
from runtime.image.tar.limits import Limits
from runtime.image.tar.streams import Expanded
from runtime.image.tar.unpack import unpack
with open(sys.argv[1], "rb", buffering=0) as file, Expanded(file, "gzip", Limits()) as stream:
    unpack(stream.read, os.open(sys.argv[2], os.O_RDONLY))
    assert str(stream.digest()) == sys.argv[3]
"""


@contest("unpack", "unpack a layer of 200 MB", ours="pyunion", rounds=3)
@contextmanager
def unpack(scratch: Path) -> Iterator[dict[str, Action]]:
    """The same gzip layer of an OCI layout, made of this machine's own files; pyunion and umoci verify its digests."""
    layer = _make_layer(scratch)
    blob, diff_id = _make_layout(scratch, layer)
    programs = _programs(scratch, blob, diff_id)
    yield {name: functools.partial(_unpack, scratch, *commands) for name, commands in programs.items()}


def _programs(top: Path, blob: Path, diff_id: str) -> dict[str, list[list[str | Path]]]:
    """Commands by name; all unpack to `out`."""
    out = top / "out"
    tar: list[str | Path] = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xz", "-C", out, "-f"]
    found: dict[str, list[list[str | Path]]] = {
        "pyunion": [[sys.executable, "-c", _OURS, blob, out, diff_id]],
        "umoci": [["umoci", "raw", "unpack", "--image", f"{top}/layout:x", out]],
        "tar": [[*tar, blob]],
        "skopeo and tar": [
            ["skopeo", "copy", "-q", f"oci:{top}/layout:x", f"dir:{top}/dir"], [*tar, f"{top}/dir/{blob.name}"]
        ],
    }  # fmt: skip
    return {name: commands for name, commands in found.items() if shutil.which(commands[0][0])}


def _unpack(top: Path, *commands: list[str | Path]) -> object:
    (top / "out").mkdir()
    for command in commands:
        run(*command)

    def undo() -> None:
        assert sum(1 for _ in (top / "out").iterdir()) > 0
        for name in ("out", "dir"):
            remove_tree(str(top / name))

    return undo


def _make_layer(top: Path) -> Path:
    """A tar file of this machine's own files, cut to size between members."""
    files = []
    total = 0
    for source in _SOURCES:
        for folder, _, names in os.walk(f"/{source}"):
            for name in sorted(names):
                path = f"{folder}/{name}"
                total += os.lstat(path).st_size
                if total < _MOST_BYTES:
                    files.append(path[1:])
    (top / "list").write_text("\n".join(files))
    layer = top / "layer.tar"
    run("tar", "--format=pax", "--no-recursion", "-C", "/", "-T", top / "list", "-cf", layer)
    return layer


def _make_layout(top: Path, layer: Path) -> tuple[Path, str]:
    """An OCI layout with the image x, which has one layer: its blob, and its diff id."""
    blobs = top / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    diff_id = f"sha256:{_hash(layer)}"
    run("gzip", "-6", "-n", layer)
    packed = layer.with_suffix(".tar.gz")
    blob = blobs / _hash(packed)
    packed.rename(blob)

    def put(value: object, media_type: str) -> dict[str, object]:
        data = json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image"
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    config = put({"architecture": "amd64", "os": "linux", "rootfs": rootfs}, f"{kind}.config.v1+json")
    descriptor = {
        "mediaType": f"{kind}.layer.v1.tar+gzip", "digest": f"sha256:{blob.name}", "size": blob.stat().st_size
    }  # fmt: skip
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": config, "layers": [descriptor]}
    entry = put(manifest, f"{kind}.manifest.v1+json") | {"annotations": {"org.opencontainers.image.ref.name": "x"}}
    (top / "layout/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (top / "layout/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return blob, diff_id


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
