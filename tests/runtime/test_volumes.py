"""runtime.container.volumes: the values of --rootfs, -v and --tmpfs."""

import pytest

from runtime.container.config import Tmpfs, Volume
from runtime.container.volumes import parse_layers, parse_tmpfs, parse_volume
from runtime.errors import UsageError


@pytest.mark.parametrize(
    ("text", "layers"),
    [("/a", ["/a"]), ("/a:/b", ["/a", "/b"]), ("/a\\:b:/c", ["/a:b", "/c"]), ("/a\\\\", ["/a\\"]), ("/a/../b", ["/b"])],
)
def test_layers(text: str, layers: list[str]) -> None:
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", ":", "/a:", ":/a", "/a::/b"])
def test_layers_without_a_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse_layers(text)


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("/etc:/x", Volume("/etc", "/x", False)),
        ("/etc:/x/../y/:ro", Volume("/etc", "/y", True)),
        ("/etc:/x:rw", Volume("/etc", "/x", False)),
        ("/etc:/x:z,ro", Volume("/etc", "/x", True)),
    ],
)
def test_volumes(text: str, volume: Volume) -> None:
    assert parse_volume(text) == volume


def test_tmpfs() -> None:
    assert parse_tmpfs("/t") == Tmpfs("/t", {"mode": "1777"}, ["nosuid", "nodev", "noexec"])
    assert parse_tmpfs("/t:exec,ro,size=1m") == Tmpfs("/t", {"mode": "1777", "size": "1m"}, ["nosuid", "nodev", "ro"])


@pytest.mark.parametrize("text", ["t", "/t:size", "/t:ro=1", "/t:context=x", "/", "/t/.."])
def test_tmpfs_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_tmpfs(text)
