"""Fixtures for all tests; what they hand out is described in tests/support."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import lesser_fuse, needs
from tests.support.debian import BuildError
from tests.support.image import Image, debian_image
from tests.support.mounts import MountFactory, is_mount_point, mount_overlay, mount_union
from unionfs.linux import mounts, process


def pytest_configure() -> None:
    """Keep all mounts of the tests to the tests: none outlives them, and no other process holds on to one."""
    if os.geteuid() == 0:
        process.unshare(process.CLONE_NEWNS)
        mounts.make_private(b"/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about features of FUSE that the tests are to do without; see tests/support/lesser_fuse.py."""
    if not {"PYUNION_TEST_REFUSE", "PYUNION_TEST_BINDING"} & set(os.environ):
        return
    left_out = [item for item in items if _is_refused(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_refused(item: pytest.Item) -> bool:
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    marks = item.iter_markers("uses")
    chosen = parameters.get("binding", "direct") if "PYUNION_TEST_REFUSE" in os.environ else "direct"
    return chosen == "pyfuse3" or any(lesser_fuse.is_refused(mark.args) for mark in marks)


@pytest.fixture
def needs_root() -> None:
    """Skip unless root; written as the mark `needs.root`."""
    needs.superuser()


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A temporary directory that every user may enter, as pytest's own isn't."""
    path = Path(tempfile.mkdtemp(prefix="pyunion-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    assert not any(is_mount_point(child) for child in path.iterdir()), "left mounted"
    shutil.rmtree(path)


@pytest.fixture
def union_mount(tmp_path: Path) -> Iterator[MountFactory]:
    """Mount unions of ours: `union_mount([top, bottom], upper)`; see tests/support/mounts.py."""
    needs.superuser()
    needs.fuse_device()
    factory = MountFactory(mount_union, tmp_path)
    yield factory
    factory.close()


@pytest.fixture
def overlay_mount(tmp_path: Path) -> Iterator[MountFactory]:
    """Mount kernel overlayfs over directories, the oracle; see tests/support/mounts.py."""
    needs.kernel_overlayfs()
    factory = MountFactory(mount_overlay, tmp_path)
    yield factory
    factory.close()


@pytest.fixture(scope="session")
def image() -> Image:
    """The real Debian image stack, built at its first use on this machine; see tests/support/image.py."""
    needs.kernel_overlayfs()
    needs.commands("mmdebstrap", "unshare", "chroot")
    try:
        return debian_image()
    except BuildError as error:
        needs.missing(f"the Debian image: {error}")
