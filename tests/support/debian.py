"""Debian in layers, as directories in kernel overlayfs's format, built once on a machine and kept.

    layers = debian_stack(SCRIPTS)      # paths, uppermost first; never write into them

The base is what mmdebstrap makes, variant minbase, with apt's lists kept. Each layer above it is the upper of a kernel
overlayfs mount in which its script ran by chroot, so it has the whiteouts, opaque marks, origins and redirects that the
kernel writes. A stack is kept in $PYUNION_TEST_CACHE, or /var/cache/pyunion-tests, under a checksum of the recipe; two
builders at once are kept apart by a lock, and a stack appears under its name only when it is whole.
Raises BuildError with the end of the failing program's output.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import search_path

BUILD_TIMEOUT_S = 900

SUITE = "bookworm"
DEFAULT_SOURCES = (
    f"deb http://deb.debian.org/debian {SUITE} main",
    f"deb http://deb.debian.org/debian-security {SUITE}-security main",
)

INSTALL = "apt-get -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 install"
"""Packages by name come after it, in a script."""


class BuildError(Exception):
    """The image could not be built; the message ends with the output of what failed."""


def debian_stack(scripts: Mapping[str, str]) -> tuple[Path, ...]:
    """Find the stack of `scripts` (layer name to shell script, bottom first) in the cache, or build it there."""
    stack = stack_folder(scripts)
    stack.parent.mkdir(parents=True, exist_ok=True)
    with _locked(stack.with_suffix(".lock")):
        if not stack.is_dir():
            _build(stack, scripts)
    return tuple(sorted(stack.iterdir(), reverse=True))


def stack_folder(scripts: Mapping[str, str]) -> Path:
    """Where the stack lies when built: named by all that decides what it is but the day's package versions."""
    recipe = repr((SUITE, sorted(scripts.items()), os.uname().machine))
    return cache_folder() / f"debian-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


def cache_folder() -> Path:
    """Where what is built once on a machine is kept."""
    return Path(os.environ.get("PYUNION_TEST_CACHE") or "/var/cache/pyunion-tests")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(stack: Path, scripts: Mapping[str, str]) -> None:
    """Make all layers in a scratch folder beside `stack`, then give it the name in one rename."""
    for leftover in stack.parent.glob(f"{stack.name}.part-*"):     # of a build that was killed: we hold the lock
        shutil.rmtree(leftover)
    scratch = Path(tempfile.mkdtemp(prefix=f"{stack.name}.part-", dir=stack.parent))
    try:
        scratch.chmod(0o755)
        layers = [_build_base(scratch / "1-base")]
        for number, (name, script) in enumerate(scripts.items(), start=2):
            layers.insert(0, _build_layer(scratch / f"{number}-{name}", layers, script))
        scratch.rename(stack)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _build_base(layer: Path) -> Path:
    sources = "\n".join(apt_sources()) + "\n"
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists", "--quiet"]
    command.append("--customize-hook=touch $1/etc/resolv.conf")     # to mount the machine's own over it
    command += [f"--aptopt={option}" for option in apt_proxies()]
    _run([*command, SUITE, str(layer), "-"], stdin=sources)
    return layer


def _build_layer(layer: Path, lowers: list[Path], script: str) -> Path:
    """Run `script` by chroot on an overlay of `lowers`, in a mount namespace that takes the mounts with it."""
    layer.mkdir(mode=0o755)
    with tempfile.TemporaryDirectory(prefix="pyunion-image-", dir=layer.parent.parent) as scratch:
        work, root = Path(scratch, "work"), Path(scratch, "root")
        work.mkdir()
        root.mkdir()
        lowerdir = ":".join(str(lower) for lower in lowers)
        options = f"lowerdir={lowerdir},upperdir={layer},workdir={work},redirect_dir=on,index=off,metacopy=off"
        inside = f"""
            set -e
            mount -t overlay overlay -o '{options}' '{root}'
            mount -t proc proc '{root}/proc'
            mount -t tmpfs tmpfs '{root}/tmp'
            mount --bind /dev '{root}/dev'
            [ ! -e /etc/resolv.conf ] || mount --bind /etc/resolv.conf '{root}/etc/resolv.conf'
            script=$(cat)
            exec chroot '{root}' /bin/sh -ec "$script" < /dev/null
        """
        _run(["unshare", "--mount", "--propagation", "private", "sh", "-c", inside], stdin=script)
    return layer


def apt_sources() -> list[str]:
    """Source lines for Debian's suites as this machine reaches them; Debian's own mirror if it is no Debian."""
    targets = ["apt-get", "indextargets", "--no-release-info", "Created-By: Packages", "--format"]
    line = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    try:
        found = subprocess.run([*targets, line], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return list(DEFAULT_SOURCES)
    ours = {f"deb {fields}" for fields in found.splitlines() if _is_wanted(fields)}
    return sorted(ours) if any(f" {SUITE} main" in source for source in ours) else list(DEFAULT_SOURCES)


def _is_wanted(fields: str) -> bool:
    """Whether a line `URI RELEASE COMPONENT` names the main part of our suite or its security updates."""
    return "debian" in fields and fields.split(" ")[1:] in ([SUITE, "main"], [f"{SUITE}-security", "main"])


def apt_proxies() -> list[str]:
    """This machine's proxy settings of apt, as options."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    lines = [line.rstrip(";") for line in dump.splitlines()]
    return [line for line in lines if line.lower().startswith("acquire::http") and "::proxy" in line.lower()]


def _run(command: list[str], stdin: str) -> None:
    """Run a step of the build with no prompts and English messages."""
    environment = {**os.environ, "PATH": search_path(), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    result = subprocess.run(
        command, input=stdin, env=environment, text=True, timeout=BUILD_TIMEOUT_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, errors="replace",
    )
    if result.returncode != 0:
        raise BuildError(f"{command[0]} ended with {result.returncode}:\n{result.stdout[-4000:]}")
