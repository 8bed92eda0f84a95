"""The options that say what a container sees besides its root filesystem."""

from typing import Any

from runtime.cli.flags.process import size
from runtime.cli.options import Parsed
from runtime.container.config import Tmpfs, Volume
from runtime.container.volumes import parse_mount, parse_tmpfs, parse_volume
from runtime.errors import UsageError


def read(options: Parsed) -> dict[str, Any]:
    """Fields of a Config. Raises UsageError."""
    found = [
        *(parse_volume(text) for text in options.many("volume")),
        *(parse_tmpfs(text) for text in options.many("tmpfs")),
        *(parse_mount(text) for text in options.many("mount")),
    ]
    targets = [mount.target for mount in found]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"two mounts at {target}")
    return {
        "volumes": [mount for mount in found if isinstance(mount, Volume)],
        "tmpfs": [mount for mount in found if isinstance(mount, Tmpfs)],
        "read_only": options.on("read-only"),
        "shm_bytes": size("shm-size", options.one("shm-size", "64m")),
    }
