"""The options that say what a container sees besides its root filesystem."""

from typing import Any

from runtime.cli.flags.process import size
from runtime.cli.options import Parsed
from runtime.container.config import Tmpfs, Volume
from runtime.container.store import Store
from runtime.container.volumes import parse_mount, parse_tmpfs, parse_volume
from runtime.errors import Refusal, UsageError


def read(options: Parsed, store: Store) -> dict[str, Any]:
    """Fields of a Config. Raises UsageError; Refusal: no such container."""
    found = [
        *(parse_volume(text) for text in options.many("volume")),
        *(parse_tmpfs(text) for text in options.many("tmpfs")),
        *(parse_mount(text) for text in options.many("mount")),
    ]
    targets = [mount.target for mount in found]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"two mounts at {target}")
    shared = {one.target: one for text in options.many("volumes-from") for one in _of_another(text, store)}
    found += [one for one in shared.values() if one.target not in targets]
    return {
        "volumes": [mount for mount in found if isinstance(mount, Volume)],
        "tmpfs": [mount for mount in found if isinstance(mount, Tmpfs)],
        "read_only": options.on("read-only"),
        "shm_bytes": size("shm-size", options.one("shm-size", "64m")),
    }


def _of_another(text: str, store: Store) -> list[Volume]:
    """The volumes of a container, for one that is to have them, too. Raises UsageError, Refusal."""
    name, _, mode = text.partition(":")
    if mode not in ("", "ro", "rw"):
        raise UsageError(f"invalid --volumes-from {text!r}: after the name, there are ro and rw")
    try:
        volumes = store.find(name).config().volumes
    except Refusal as error:
        raise Refusal(str(error)) from None  # with the status of a command that didn't run
    return [one._replace(read_only=one.read_only or mode == "ro") for one in volumes]
