"""Time of a container that does nothing: `pyunion run --rm` of `true`, beside podman on the bare directory.

Rounds in turn, so that noise falls on all alike; prints medians in milliseconds and their ratio to pyunion's. Needs
root, /dev/fuse and busybox; peers that aren't installed are left out.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 10
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


def make_rootfs(place: Path) -> Path:
    """A tree of busybox alone, and the mount points every runtime wants."""
    rootfs = place / "rootfs"
    for name in ("bin", "etc", "proc", "sys", "dev", "run", "tmp"):
        (rootfs / name).mkdir(parents=True)
    program = shutil.which("busybox")
    assert program is not None, "busybox is not installed"
    shutil.copy(program, rootfs / "bin/busybox")
    (rootfs / "bin/true").symlink_to("busybox")
    return rootfs


def commands(place: Path, rootfs: Path) -> dict[str, list[str]]:
    """What is measured, by name."""
    program = os.path.join(os.path.dirname(sys.executable), "pyunion")
    pyunion = [program, f"--root={place}/root", f"--runroot={place}/run"]
    podman = ["podman", f"--root={place}/podman", f"--runroot={place}/podman-run", "--storage-driver=vfs"]
    podman += ["--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc", "--log-level=error"]
    podman += ["run", "--rm", "--network=none", *_LIMITS, "--rootfs", str(rootfs), "true"]
    found = {
        "pyunion run --rootfs": [*pyunion, "run", "--rm", "--rootfs", str(rootfs), "true"],
        "pyunion run --host": [*pyunion, "run", "--rm", "--host", "true"],
        "podman, no union": podman,
        "bare process": [str(rootfs / "bin/true")],
    }
    return {name: command for name, command in found.items() if shutil.which(command[0])}


def measure(command: list[str]) -> float:
    """Milliseconds of one run."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        measured = commands(place, make_rootfs(place))
        for command in measured.values():
            measure(command)  # caches warm up
        times = {name: [] for name in measured}  # type: dict[str, list[float]]
        for _ in range(ROUNDS):
            for name, command in measured.items():
                times[name].append(measure(command))
    base = statistics.median(times["pyunion run --rootfs"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<22} {median:7.1f} ms  (from {min(values):.1f} to {max(values):.1f})  {median / base:5.2f}")


if __name__ == "__main__":
    main()
