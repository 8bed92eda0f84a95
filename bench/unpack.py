"""How long a real layer of some hundred MB takes to unpack: ours, umoci, and skopeo with tar, in one run.

    python -m bench.unpack [LAYER.tar] [ROUNDS]

Without a layer it makes one of /usr/lib, /usr/bin and /usr/share, up to 500 MB. Every round runs each program
once, in turn, on
the same OCI layout with the same gzip layer; printed are medians of wall and processor time, and ratios to ours.
"""

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from runtime.trees import remove_tree

_HOUSE = Path(__file__).resolve().parent.parent
_SOURCES = ("usr/lib", "usr/bin", "usr/share")
_MOST_BYTES = 500 << 20
_OURS = """
import os, sys
from runtime.image.tar.limits import Limits
from runtime.image.tar.streams import Expanded
from runtime.image.tar.unpack import unpack
with open(sys.argv[1], "rb", buffering=0) as file, Expanded(file, "gzip", Limits()) as stream:
    unpack(stream.read, os.open(sys.argv[2], os.O_RDONLY))
    assert str(stream.digest()) == sys.argv[3]
"""


def main(arguments: list[str]) -> None:
    rounds = int(arguments[1]) if len(arguments) > 1 else 5
    folder = tempfile.mkdtemp(prefix="bench-unpack-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    try:
        top = Path(folder)
        layer = Path(arguments[0]) if arguments else _make_layer(top)
        blob, diff_id = _make_layout(top, layer)
        members = subprocess.run(["tar", "-tf", layer], check=True, capture_output=True).stdout.count(b"\n")
        print(f"layer: {layer.stat().st_size >> 20} MiB, packed {blob.stat().st_size >> 20} MiB, {members} members")
        _compare(_programs(top, blob, diff_id), top, rounds)
    finally:
        remove_tree(folder)


def _programs(top: Path, blob: Path, diff_id: str) -> dict[str, Callable[[Path], list[list[str]]]]:
    python = [sys.executable, "-c", _OURS]
    unpack = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xz", "-C"]
    return {
        "pyunion": lambda out: [[*python, str(blob), str(out), diff_id]],
        "umoci": lambda out: [["umoci", "raw", "unpack", "--image", f"{top}/layout:x", str(out)]],
        "tar": lambda out: [[*unpack, str(out), "-f", str(blob)]],
        "skopeo+tar": lambda out: [
            ["skopeo", "copy", "-q", f"oci:{top}/layout:x", f"dir:{top}/dir"],
            [*unpack, str(out), "-f", f"{top}/dir/{blob.name}"],
        ],
    }


def _compare(programs: dict[str, Callable[[Path], list[list[str]]]], top: Path, rounds: int) -> None:
    wall: dict[str, list[float]] = {name: [] for name in programs}
    processor: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, commands in programs.items():
            out = top / "out"
            out.mkdir()
            started, used = time.monotonic(), _used()
            for command in commands(out):
                subprocess.run(command, check=True, cwd=_HOUSE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wall[name].append(time.monotonic() - started)
            processor[name].append(_used() - used)
            remove_tree(str(out))
            remove_tree(f"{top}/dir")
    print(f"{'':12} {'wall s':>8} {'ratio':>6} {'cpu s':>8} {'ratio':>6}")
    ours = statistics.median(wall["pyunion"]), statistics.median(processor["pyunion"])
    for name in programs:
        medians = statistics.median(wall[name]), statistics.median(processor[name])
        print(f"{name:12} {medians[0]:8.2f} {medians[0] / ours[0]:6.2f} {medians[1]:8.2f} {medians[1] / ours[1]:6.2f}")


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
    command = ["tar", "--format=pax", "--no-recursion", "-C", "/", "-T", top / "list", "-cf", layer]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return layer


def _make_layout(top: Path, layer: Path) -> tuple[Path, str]:
    """An OCI layout with the image x, which has one layer: its blob, and its diff id."""
    blobs = top / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    packed = top / "layer.gz"
    with packed.open("wb") as file:
        subprocess.run(["gzip", "-6", "-n", "-c", layer], check=True, stdout=file)
    diff_id = f"sha256:{_hash(layer)}"
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


if __name__ == "__main__":
    main(sys.argv[1:])
