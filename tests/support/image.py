"""A real image for the tests: Debian in five layers, as directories in kernel overlayfs's format.

    image.layers                # paths, uppermost first, ready for lowerdir=; never write into them
    debian_image()              # the same outside pytest; builds it when this machine has none yet

| layer    | made by                                                                          |
| base     | mmdebstrap, variant minbase, bookworm; apt's lists kept                           |
| python   | apt-get install python3 git sqlite3                                               |
| compiler | apt-get install gcc libc6-dev make                                                |
| removed  | files and a directory deleted, a directory replaced by an opaque one              |
| app      | the standard library copied to /opt/app; hard links, a FIFO, devices, a sparse    |
|          | file, ACLs, a capability, xattrs, a renamed directory (a redirect) in /opt/odd;   |
|          | bc's package in apt's cache, to be installed without a network                    |

Each layer above the base is the upper of a kernel overlayfs mount in which its script ran by chroot, so it has
the whiteouts, opaque marks, origins and redirects that the kernel writes. Built once (a minute or two), then kept in
$PYUNION_TEST_CACHE, or /var/cache/pyunion-tests, under a checksum of the recipe; two builders at once are
kept apart by a lock, and a stack appears under its name only when it is whole.
Raises BuildError with the end of the failing program's output.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import search_path

BUILD_TIMEOUT_S = 900

SUITE = "bookworm"
DEFAULT_SOURCES = (
    f"deb http://deb.debian.org/debian {SUITE} main",
    f"deb http://deb.debian.org/debian-security {SUITE}-security main",
)

INSTALL = "apt-get -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 install"

SCRIPTS = {
    "python": f"{INSTALL} python3 git sqlite3; apt-get clean",
    "compiler": f"{INSTALL} gcc libc6-dev make; apt-get clean",
    "removed": """
        rm -r /usr/share/doc /etc/terminfo
        rm /usr/bin/perl5* /usr/share/common-licenses/GPL /etc/motd /usr/lib/python3.11/pdb.py
        rm -r /usr/share/locale; mkdir -m 2751 /usr/share/locale; echo new > /usr/share/locale/only
    """,
    "app": f"""
        mkdir -p /opt/app; cp -a /usr/lib/python3.11/. /opt/app/; rm -rf /opt/app/test
        cd /opt; mkdir odd; cd odd
        echo one > name; ln name second; mkdir deep; ln name deep/third; ln -s ../app/os.py link
        mkfifo -m 640 fifo; mknod -m 620 null c 1 3; mknod -m 660 disk b 7 200
        echo data > owned; chown 1234:4321 owned; chmod 6754 owned; touch -d 2001-02-03T04:05:06.7 owned
        dd if=/dev/zero of=sparse bs=1 count=1 seek=8M status=none; echo end >> sparse
        mkdir sticky; chmod 3777 sticky
        printf 'x' > "$(printf 'colon:comma,back\\\\slash new\\nline \\377')"
        python3 - <<'PYTHON'
import os, struct
entry = lambda tag, perm, who=0xFFFFFFFF: struct.pack('<HHI', tag, perm, who)
acl = struct.pack('<I', 2) + entry(1, 7) + entry(2, 5, 1234) + entry(4, 5) + entry(16, 7) + entry(32, 0)
os.mkdir('acl')
os.setxattr('acl', 'system.posix_acl_access', acl)
os.setxattr('acl', 'system.posix_acl_default', acl)
os.setxattr('owned', 'user.note', b'\\x00binary\\xff')
os.setxattr('name', 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 10, 0, 0, 0))
PYTHON
        mv /usr/lib/python3.11/xmlrpc /opt/odd/moved; echo new > /opt/odd/moved/added
        {INSTALL} --download-only bc
    """,
}
"""Layer name to the shell script that makes it, bottom first; part of the cache's key as it stands."""


class BuildError(Exception):
    """The image could not be built; the message ends with the output of what failed."""


@dataclass(frozen=True)
class Image:
    """A stack of layers on disk."""

    layers: tuple[Path, ...]    # uppermost first

    def layer(self, name: str) -> Path:
        """The directory of one layer by its name in the table above."""
        return next(layer for layer in self.layers if layer.name.endswith(name))


@functools.cache
def debian_image() -> Image:
    """Find the stack in the cache, or build it there."""
    stack = stack_folder()
    stack.parent.mkdir(parents=True, exist_ok=True)
    with _locked(stack.with_suffix(".lock")):
        if not stack.is_dir():
            _build(stack)
    return Image(tuple(sorted(stack.iterdir(), reverse=True)))


def stack_folder() -> Path:
    """Where the stack lies when built: named by all that decides what it is but the day's package versions."""
    cache = Path(os.environ.get("PYUNION_TEST_CACHE") or "/var/cache/pyunion-tests")
    recipe = repr((SUITE, sorted(SCRIPTS.items()), os.uname().machine))
    return cache / f"debian-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(stack: Path) -> None:
    """Make all layers in a scratch folder beside `stack`, then give it the name in one rename."""
    for leftover in stack.parent.glob(f"{stack.name}.part-*"):     # of a build that was killed: we hold the lock
        shutil.rmtree(leftover)
    scratch = Path(tempfile.mkdtemp(prefix=f"{stack.name}.part-", dir=stack.parent))
    try:
        scratch.chmod(0o755)
        layers = [_build_base(scratch / "1-base")]
        for number, (name, script) in enumerate(SCRIPTS.items(), start=2):
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


def main() -> None:
    """Build the stack unless it is there, with a word to whoever waits (`python -m tests.support.image`)."""
    if not stack_folder().is_dir():
        print("Building the tests' Debian image (once on a machine)", flush=True)
    try:
        debian_image()
    except BuildError as error:
        print(f"The tests that need the image will not run: {error}", flush=True)


if __name__ == "__main__":
    main()
