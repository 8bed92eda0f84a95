"""What a container was asked to be: set at its creation, kept in config.json, never changed."""

from typing import Any, NamedTuple


class Volume(NamedTuple):
    """A file or directory of the host seen at `target` inside, with all that is mounted below it."""

    source: str
    target: str
    read_only: bool


class Tmpfs(NamedTuple):
    """An empty filesystem in memory at `target`."""

    target: str
    options: dict[str, str]
    """Of tmpfs itself: size, mode, uid, gid, nr_inodes, nr_blocks."""
    flags: list[str]
    """Of the mount: ro, nosuid, nodev, noexec."""


class Config(NamedTuple):
    """One container. Text that names files holds bytes beyond UTF-8 as surrogates, as sys.argv does."""

    id: str
    """64 hexadecimal digits."""
    name: str
    created_s: float
    image: str
    """What its root filesystem was made from, as people read it."""
    layers: list[str]
    """Lower directories of the root filesystem, uppermost first."""
    nested: bool
    """Whether the state directory lies in one of the layers, as it does when that is the host's own root."""
    args: list[str]
    hostname: str
    env: list[str]
    """K=V, as given: what a container gets in any case isn't here."""
    user: str
    workdir: str
    interactive: bool
    tty: bool
    auto_remove: bool
    network: str
    """host or none."""
    volumes: list[Volume]
    tmpfs: list[Tmpfs]
    image_id: str = ""
    """Digest of the configuration of the image it was made from, if it was."""
    directories: list[str] = []
    """Made inside if they are missing: volumes of the image, which are kept in the container itself."""
    stop_signal: str = ""
    labels: dict[str, str] = {}
    ports: list[str] = []
    """That the image says it listens on; nothing is published."""


def to_json(config: Config) -> dict[str, Any]:
    """As a value the json module can write."""
    return config._asdict()


def from_json(value: dict[str, Any]) -> Config:
    """The reverse of to_json(); keys of a later version are left out."""
    known: dict[str, Any] = {**Config._field_defaults, **{key: value[key] for key in Config._fields if key in value}}
    known["volumes"] = [Volume(*volume) for volume in known["volumes"]]
    known["tmpfs"] = [Tmpfs(*tmpfs) for tmpfs in known["tmpfs"]]
    return Config(**known)
