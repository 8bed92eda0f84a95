"""An ordinary user builds, too: owners in the image are those that the Dockerfile gives."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.trees import remove_tree
from tests.e2e.test_rootless import USER, User
from tests.support import needs

DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY --chown=5:6 Dockerfile /d/
RUN mkdir /new && echo x > /new/f && chown 7:8 /new/f && chmod 700 /new && rm /d/Dockerfile
RUN stat -c '%u %g %a %n' /new /new/f /d; ls /d
"""


@pytest.fixture
def user() -> Iterator[User]:
    needs.superuser()
    needs.commands("newuidmap", "newgidmap", "setpriv", "unshare", "tee", "busybox")
    top = Path(tempfile.mkdtemp(prefix="build-", dir="/var/tmp"))
    top.chmod(0o755)
    for name in ("home", "home/run", "home/context"):
        (top / name).mkdir()
        os.chown(top / name, USER, USER)
    shutil.copy(shutil.which("busybox", path=needs.search_path()) or "", top / "home/context/busybox")
    (top / "home/context/Dockerfile").write_text(DOCKERFILE)
    yield User(top)
    remove_tree(str(top))


def test_owners_are_those_of_the_image(user: User) -> None:
    printed = user.output("pyunion build -t built context; ls $XDG_DATA_HOME/pyunion/builds")
    assert "0 0 700 /new\n7 8 644 /new/f\n5 6 755 /d\n" in printed
    assert printed.endswith("Successfully tagged built:latest\n")
    assert user.output("pyunion run --rm built stat -c '%u %g' /new/f") == "7 8\n"
