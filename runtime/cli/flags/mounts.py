"""The options that say what a container sees besides its root filesystem."""

from typing import Any

from runtime.cli.flags.process import size
from runtime.cli.options import Option, Parsed
from runtime.container.config import Tmpfs, Volume
from runtime.container.named_volumes import NamedVolumes
from runtime.container.volumes import parse_mount, parse_tmpfs, parse_volume
from runtime.errors import UsageError

OPTIONS = (
    Option("mount", "type=bind|volume|tmpfs,source=…,target=…[,readonly]…", "", "SPEC"),
    Option("read-only", "keep the root filesystem from being changed"),
    Option("shm-size", "size of /dev/shm (default: 64m)", "", "SIZE"),
    Option("tmpfs", "mount an empty filesystem in memory", "", "DIR[:OPTIONS]"),
    Option("volume", "show a file or directory of this machine inside, or a volume", "v", "SRC|NAME:DST[:ro]"),
)


def read(options: Parsed, volumes: NamedVolumes) -> dict[str, Any]:
    """Fields of a Config; volumes that are named and missing are made. Raises UsageError."""
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
        "volumes": [volumes.placed(mount) for mount in found if isinstance(mount, Volume)],
        "tmpfs": [mount for mount in found if isinstance(mount, Tmpfs)],
        "read_only": options.on("read-only"),
        "shm_bytes": size("shm-size", options.one("shm-size", "64m")),
    }
