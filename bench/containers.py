"""Containers from the command line: start, diff, commit; beside podman, crun and bubblewrap. Needs root and busybox."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import phases
from bench.contest import Action, contest
from bench.mounts import PYUNIONFS
from bench.results import Results
from bench.runner import scratch_folder
from bench.workload import Failed, run
from unionfs.linux import process

_PYUNION = Path(sys.executable).with_name("pyunion")
_FEW_FILES = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
"""podman asks for more than root may have where it has no CAP_SYS_RESOURCE."""
_IMAGE = "localhost/bench:1"
_FILES = 10_000


@contest("start", "container of `true`, started and removed", ours="pyunion run", aim_ms=60, rounds=15)
@contextmanager
def start(scratch: Path) -> Iterator[dict[str, Action]]:
    """run --rm --network none of busybox's true; crun and bubblewrap get a root that is mounted already."""
    rootfs = _make_rootfs(scratch / "rootfs")
    with _mounted(rootfs, scratch / "mount") as merged, _namespace() as enter:
        entrants: dict[str, Action] = {"pyunion run": _run_in_pyunion(scratch, rootfs)}
        entrants["pyunion run --host"] = _pyunion(scratch, "run", "--rm", "--network=none", "--host", "true")
        for name, driver, runtime in _podmans():
            entrants[name] = _run_in_podman(_short(scratch, name), rootfs, driver, runtime, enter)
        if shutil.which("crun"):
            entrants["crun, mounted before"] = _run_in_crun(scratch, merged, enter)
        if shutil.which("bwrap"):
            places: list[str | Path] = ["--bind", merged, "/", "--proc", "/proc", "--dev", "/dev"]
            entrants["bubblewrap, mounted before"] = functools.partial(run, "bwrap", "--unshare-all", *places, "true")
        entrants["the process alone"] = functools.partial(run, rootfs / "bin/true")
        yield entrants


def measure_phases(rounds: int, results: Results) -> None:
    """Where the time of `pyunion run --rm --network none` of busybox's true goes."""
    with scratch_folder() as scratch:
        run_true = [*_pyunion_command(scratch), "run", "--rm", "--network=none", _IMAGE, "true"]
        _run_in_pyunion(scratch, _make_rootfs(scratch / "rootfs"))()
        phases.measure(run_true, "busybox", rounds, results)  # what `true` is a link to


@contest("diff", "diff of one changed file over 10,000", ours="pyunion", aim_ms=100, rounds=3)
@contextmanager
def diff(scratch: Path) -> Iterator[dict[str, Action]]:
    """What a container changed that wrote one file."""
    with _changed_containers(scratch) as engines:
        yield {name: functools.partial(_expect_file, command) for name, command in engines.items()}


@contest("commit", "commit of one changed file over 10,000", ours="pyunion", aim_ms=100, rounds=3)
@contextmanager
def commit(scratch: Path) -> Iterator[dict[str, Action]]:
    """An image of that container."""

    def action(command: list[str | Path]) -> None:
        run(*command, "commit", "-q", "changed", "localhost/committed:1")

    with _changed_containers(scratch) as engines:
        yield {name: functools.partial(action, command) for name, command in engines.items()}


@contextmanager
def _changed_containers(scratch: Path) -> Iterator[dict[str, list[str | Path]]]:
    """An engine's command by name, with a container `changed` in each that wrote a file."""
    rootfs = _make_rootfs(scratch / "rootfs")
    for number in range(_FILES):
        folder = rootfs / f"data/{number % 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}").write_bytes(b"x" * 100)
    archive = _archive(rootfs)
    engines: dict[str, list[str | Path]] = {"pyunion": _pyunion_command(scratch)}
    with _namespace() as enter:
        for name, driver, runtime in _podmans():
            if runtime == "runc":
                engines[name] = _podman_command(_short(scratch, name), driver, runtime)
        for command in engines.values():
            limits = () if command[0] == _PYUNION else _FEW_FILES
            run(*command, "import", archive, _IMAGE)
            write = ["sh", "-c", "echo new > /data/new"]
            run(*command, "run", "--name=changed", "--network=none", *limits, _IMAGE, *write, enter=enter)
        yield engines


def _expect_file(command: Sequence[str | Path]) -> None:
    said = run(*command, "diff", "changed")
    if b"A /data/new\n" not in said:
        raise Failed(f"diff says {said[:200]!r}")


def _run_in_pyunion(scratch: Path, rootfs: Path) -> Action:
    run(*_pyunion_command(scratch), "import", rootfs, _IMAGE)
    return _pyunion(scratch, "run", "--rm", "--network=none", _IMAGE, "true")


def _pyunion(scratch: Path, *words: str) -> Action:
    return functools.partial(run, *_pyunion_command(scratch), *words)


def _pyunion_command(scratch: Path) -> list[str | Path]:
    return [_PYUNION, f"--root={scratch}/pyunion", f"--runroot={scratch}/pyunion-run"]


def _podmans() -> Iterator[tuple[str, str | Path | None, str]]:
    """Name, mount program (None: kernel overlayfs) and runtime of each podman that is measured."""
    if not shutil.which("podman"):
        return
    for runtime in ("crun", "runc"):
        for name, program in (("fuse-overlayfs", shutil.which("fuse-overlayfs")), ("pyunionfs", PYUNIONFS)):
            if program and shutil.which(runtime):
                yield f"podman, {name}, {runtime}", program, runtime
    if shutil.which("runc"):
        yield "podman, overlayfs, runc", None, "runc"


def _short(scratch: Path, name: str) -> Path:
    """A folder for a podman, which allows 50 characters."""
    return scratch / "".join(word[0] for word in name.split())


def _podman_command(place: Path, mount_program: str | Path | None, runtime: str) -> list[str | Path]:
    command = ["podman", f"--root={place}", f"--runroot={place}-run", "--storage-driver=overlay", "--log-level=error"]
    if mount_program:
        command.append(f"--storage-opt=overlay.mount_program={mount_program}")
    return [*command, "--cgroup-manager=cgroupfs", "--events-backend=file", f"--runtime={runtime}"]


def _run_in_podman(
    place: Path, rootfs: Path, mount_program: str | Path | None, runtime: str, enter: Callable[[], None]
) -> Action:
    command = _podman_command(place, mount_program, runtime)
    run(*command, "import", _archive(rootfs), _IMAGE)
    return functools.partial(run, *command, "run", "--rm", "--network=none", *_FEW_FILES, _IMAGE, "true", enter=enter)


def _run_in_crun(scratch: Path, merged: Path, enter: Callable[[], None]) -> Action:
    bundle = scratch / "bundle"
    bundle.mkdir()
    run("crun", "spec", "--bundle", bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": ["true"], "terminal": False}
    config["root"] = {"path": str(merged)}
    (bundle / "config.json").write_text(json.dumps(config))
    command: list[str | Path] = ["crun", f"--root={scratch}/crun", "run", "--bundle", bundle, f"bench-{os.getpid()}"]
    return functools.partial(run, *command, enter=enter)


def _make_rootfs(rootfs: Path) -> Path:
    """A tree of busybox alone, and the mount points every runtime wants."""
    for name in ("bin", "etc", "proc", "sys", "dev", "run", "tmp"):
        (rootfs / name).mkdir(parents=True)
    program = shutil.which("busybox")
    if program is None:
        raise Failed("busybox is not installed")
    shutil.copy(program, rootfs / "bin/busybox")
    for name in ("sh", "true"):
        (rootfs / "bin" / name).symlink_to("busybox")
    return rootfs


def _archive(rootfs: Path) -> Path:
    archive = rootfs.with_suffix(".tar")
    run("tar", "-cf", archive, "-C", rootfs, ".")
    return archive


@contextmanager
def _mounted(rootfs: Path, place: Path) -> Iterator[Path]:
    """A union of `rootfs` and a fresh upper, mounted by ours."""
    for name in ("merged", "upper", "work"):
        (place / name).mkdir(parents=True)
    options = f"lowerdir={rootfs},upperdir={place}/upper,workdir={place}/work"
    run(PYUNIONFS, place / "merged", "-o", options)
    try:
        yield place / "merged"
    finally:
        run("umount", place / "merged")


@contextmanager
def _namespace() -> Iterator[Callable[[], None]]:
    """A function that takes a process to a mount namespace where crun works: it refuses a tree of cgroups of both
    versions, so the second is unmounted there."""
    script = "umount /sys/fs/cgroup/unified 2> /dev/null; echo; exec sleep infinity"
    command = ["unshare", "--mount", "--propagation=slave", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        namespace = os.open(f"/proc/{holder.pid}/ns/mnt", os.O_RDONLY)
        try:
            yield lambda: process.setns(namespace, process.CLONE_NEWNS)
        finally:
            os.close(namespace)
            holder.kill()
