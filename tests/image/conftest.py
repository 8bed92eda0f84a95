"""The real Debian stack, mounted by us, with programs of its own to run in it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.chroot import run_inside
from tests.support.image import Image
from tests.support.mounts import Mounted, MountFactory

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the image, and time."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(300))


@dataclass
class Debian:
    """The stack mounted with an empty upper; `lowers` and `upper` as they were mounted."""

    mounted: Mounted

    @property
    def root(self) -> Path:
        """Its root directory, as a path of this machine."""
        return self.mounted.path

    def run(self, script: str) -> str:
        """What a shell script prints that is run inside, stripped; see tests/support/chroot.py."""
        return run_inside(self.root, script).strip()


def empty_upper(path: Path) -> Path:
    """An upper that is the same whenever it is made: its times are those of the root directory."""
    path.mkdir()
    path.chmod(0o755)
    os.utime(path, ns=(10**18, 10**18))
    return path


@pytest.fixture
def debian(image: Image, union_mount: MountFactory, tmp_path: Path) -> Debian:
    """The stack through our mount, writable."""
    return Debian(union_mount(image.layers, empty_upper(tmp_path / "upper")))


@pytest.fixture
def oracle(image: Image, overlay_mount: MountFactory, tmp_path: Path) -> Debian:
    """The same stack through kernel overlayfs, writable, with an upper of its own."""
    return Debian(overlay_mount(image.layers, empty_upper(tmp_path / "oracle"), options="redirect_dir=on,index=on"))


Remount = Callable[[Debian, Path], Debian]


@pytest.fixture
def commit(union_mount: MountFactory) -> Remount:
    """Take a stack down and mount it with what was its upper as its topmost lower, as engines do on commit."""

    def committed(debian: Debian, new_upper: Path) -> Debian:
        debian.mounted.unmount()
        assert debian.mounted.upper is not None
        return Debian(union_mount([debian.mounted.upper, *debian.mounted.lowers], new_upper))

    return committed
