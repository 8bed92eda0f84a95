"""What a container was asked to be: set at its creation, kept in config.json; `rename` and `update` replace it."""

from typing import Any, NamedTuple


class Volume(NamedTuple):
    """A file or directory of the host seen at `target` inside, with all that is mounted below it."""

    source: str
    target: str
    read_only: bool
    propagation: str = "rprivate"
    """Which mounts made later on either side the other one sees: as mount(8) has it."""
    name: str = ""
    """If it is a named volume."""
    copies: bool = True
    """Whether a volume that is empty gets what the image has in its place."""
    mapped: bool = False
    """Whether its owners are those seen in the container's user namespace, as a named volume's are in any case."""
    image: bool = False
    """Whether `source` names an image, whose tree this is."""
    layers: list[str] = []
    """Of the image: directories, uppermost first."""


class Tmpfs(NamedTuple):
    """An empty filesystem in memory at `target`."""

    target: str
    options: dict[str, str]
    """Of tmpfs itself: size, mode, uid, gid, nr_inodes, nr_blocks."""
    flags: list[str]
    """Of the mount: ro, nosuid, nodev, noexec."""


class Maps(NamedTuple):
    """Ids of a user namespace: rows of (first inside, first of the machine's, how many)."""

    uids: list[tuple[int, int, int]]
    gids: list[tuple[int, int, int]]

    @property
    def only_root(self) -> bool:
        """Whether there is one id alone."""
        return sum(count for _, _, count in self.uids) == 1

    @property
    def root(self) -> tuple[int, int]:
        """Who root of the namespace, and its group, are on the machine."""
        return _outside(self.uids, 0), _outside(self.gids, 0)

    def has_uid(self, uid: int) -> bool:
        return _outside(self.uids, uid) >= 0

    def has_gid(self, gid: int) -> bool:
        return _outside(self.gids, gid) >= 0


def _outside(rows: list[tuple[int, int, int]], inside: int) -> int:
    """What an id of the namespace is on the machine; -1: it isn't mapped."""
    return next((start + inside - first for first, start, count in rows if first <= inside < first + count), -1)


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
    """host, none, container:ID, or the name of a network."""
    volumes: list[Volume]
    tmpfs: list[Tmpfs]
    image_id: str = ""
    """Digest of the configuration of the image it was made from, if it was."""
    image_volumes: list[str] = []
    """Paths that the image says are volumes; made inside if they are missing."""
    stop_signal: str = ""
    labels: dict[str, str] = {}
    ports: list[str] = []
    """That the image says it listens on; nothing is published for that."""
    entrypoint: int = 0
    """How many of `args` are its entry point; 0 if it has none."""
    domainname: str = ""
    restart: str = "no"
    """See restart.py."""
    stop_timeout_s: int = 10
    log: dict[str, Any] = {}
    """driver (json-file or none), max_bytes, max_files."""
    namespaces: dict[str, str] = {}
    """Which are not as usual: kind (pid, ipc, uts, net, cgroup) to `host` or `container:ID`; user to `private` or
    `container:ID`."""
    privileged: bool = False
    read_only: bool = False
    groups: list[str] = []
    """Supplementary ones, beyond those of the user."""
    shm_bytes: int = 1 << 26
    ulimits: dict[str, list[int]] = {}
    """Name to soft and hard limit; -1: none."""
    sysctls: dict[str, str] = {}
    oom_score_adj: int | None = None
    limits: dict[str, Any] = {}
    """What its control group is to enforce: see cgroups."""
    volatile: bool = False
    """Whether nothing of its root filesystem needs to survive a crash of the machine."""
    security: dict[str, Any] = {}
    """Capabilities, system calls, labels: see confine.py."""
    maps: Maps | None = None
    """Of its user namespace, if root made it one, or an ordinary user one within his container's."""
    umask: int = 0o022
    pidfile: str = ""
    """Where the first process's pid is to be written."""
    annotations: dict[str, str] = {}
    """Noted, as labels are; they mean nothing to us."""
    clocks: dict[str, int] = {}
    """boottime and monotonic: by how many seconds they differ from the machine's, in a time namespace of its own."""
    health: dict[str, Any] = {}
    """As images have it: Test, Interval and so on; see health.py."""
    networks: dict[str, Any] = {}
    """What `network` needs to know more: see runtime.network."""


def to_json(config: Config) -> dict[str, Any]:
    """As a value the json module can write."""
    return config._asdict()


def from_json(value: dict[str, Any]) -> Config:
    """The reverse of to_json(); keys of a later version are left out. Raises KeyError: it wasn't made by that."""
    known: dict[str, Any] = {**Config._field_defaults, **{key: value[key] for key in Config._fields if key in value}}
    known["created_s"] = value["created_s"]
    known["volumes"] = [Volume(*volume) for volume in known["volumes"]]
    known["tmpfs"] = [Tmpfs(*tmpfs) for tmpfs in known["tmpfs"]]
    known["maps"] = Maps(*known["maps"]) if known["maps"] else None
    return Config(**known)
