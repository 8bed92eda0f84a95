"""The mount program run by an ordinary user: fusermount3, which is set-uid root, mounts for them."""

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mountprogram.conftest import CHECKOUT, make_layers
from tests.support import needs

pytestmark = needs.root

USER = "games"  # fusermount3 wants a user with a name; this one is on every Debian
NAMESPACE = f"""
    mknod -m 666 fuse c 10 229
    mount --bind fuse /dev/fuse
    mount --bind {shlex.quote(str(CHECKOUT))} code
    mount --bind {shlex.quote(sysconfig.get_paths()["purelib"])} packages
    exec setpriv --reuid "$0" --regid "$0" --init-groups sh -ec "$@"
"""


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Layers that belong to USER, in a folder of theirs."""
    needs.commands("fusermount3", "setpriv", "unshare")
    needs.fuse_device()
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        needs.missing(f"a user {USER}")
    home = Path(tempfile.mkdtemp(prefix="pyunion-test-", dir="/var/tmp"))
    make_layers(home, ["a", "b"])
    for name in ("upper", "work", "merged", "code", "packages"):
        (home / name).mkdir()
    for path in (home, *home.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    yield home
    shutil.rmtree(home)


def as_ordinary_user(home: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run `script` as USER in `home`, where /dev/fuse is open to all as usual; `pyunionfs` is a function in it.

    The checkout and its packages are mounted where USER can enter, which the folders they lie in may not let them.
    """
    python = shlex.quote(os.path.realpath(sys.executable))
    pyunionfs = f'pyunionfs() {{ PYTHONPATH="{home}/code:{home}/packages" {python} -m unionfs "$@"; }}\n'
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", NAMESPACE, USER, pyunionfs + script],
        cwd=home, capture_output=True, text=True, timeout=60, check=False,
    )


def test_an_ordinary_user_mounts_reads_writes_and_unmounts(home: Path) -> None:
    result = as_ordinary_user(home, """
        pyunionfs -o lowerdir=a:b,upperdir=upper,workdir=work merged
        grep -o "fuse.pyunionfs .*" /proc/self/mountinfo
        ls merged
        echo new > merged/new
        echo more >> merged/from-a
        rm merged/from-b
        mv merged/new merged/moved
        chmod 600 merged/moved
        fusermount3 -u merged
        cat upper/moved upper/from-a
    """)
    assert (result.returncode, result.stderr) == (0, "")
    user = pwd.getpwnam(USER)
    expected = f"fuse.pyunionfs pyunionfs rw,user_id={user.pw_uid},group_id={user.pw_gid},default_permissions\\n"
    assert result.stdout == expected.replace("\\n", "\n") + "from-a\nfrom-b\nnew\namore\n"


def test_what_was_deleted_stays_deleted(home: Path) -> None:
    result = as_ordinary_user(home, """
        pyunionfs -o lowerdir=a:b,upperdir=upper,workdir=work merged
        rm merged/from-b
        mkdir merged/from-b
        rm merged/from-a
        fusermount3 -u merged
        while ! pyunionfs -o lowerdir=a:b,upperdir=upper,workdir=work merged 2>/dev/null; do sleep 0.1; done
        ls -p merged
        fusermount3 -u merged
    """)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "from-b/\n"


def test_directories_that_their_owner_may_not_write_are_copied_up_and_removed_nevertheless(home: Path) -> None:
    """The driver is no more than their owner, and what is in them, or they themselves, must be moved."""
    result = as_ordinary_user(home, """
        mkdir -p a/closed/inner a/hollow
        echo old > a/closed/inner/file
        touch a/hollow/gone
        chmod 555 a/closed/inner a/closed
        pyunionfs -o lowerdir=a:b,upperdir=upper,workdir=work merged
        cd merged
        echo new >> closed/inner/file
        cat closed/inner/file
        mkdir -m 555 made
        rmdir made
        rm hollow/gone
        chmod 555 hollow
        rmdir hollow
        mkdir -m 555 hollow
        rmdir hollow
        mv closed moved
        stat -c "%a %n" *  moved/inner
        chmod -R u+w moved
        rm -r moved
        cd ..
        fusermount3 -u merged
        chmod -R u+w a
        find upper -type d -printf "%m %P\n"
        find work/work -mindepth 1 -type d
    """)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "old\nnew\n644 from-a\n644 from-b\n555 moved\n555 moved/inner\n755 \n"


@pytest.mark.parametrize(("arguments", "complaint"), [
    ("-o lowerdir=a,allow_other merged", "user_allow_other"),
    ("-o lowerdir=a /usr", "no write access"),
    ("-o lowerdir=/root/secret merged", "permission denied"),
])
def test_what_an_ordinary_user_may_not(home: Path, arguments: str, complaint: str) -> None:
    result = as_ordinary_user(home, f"pyunionfs {arguments}")
    assert result.returncode == 1
    assert result.stderr.startswith("pyunionfs: ")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
