"""`RUN --mount=…`: what each says, and what the container gets for it. Nothing of a mount ends in the layer.

What is bound is a copy of its own: a symlink in a context or stage never makes a file of this machine appear, a
.dockerignore holds here too, and what the command writes into it (rw) is gone afterwards.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from runtime.build.copying import Draft
from runtime.build.errors import BuildError
from runtime.build.selecting import Attributes, Selection, digest, select
from runtime.build.trees import Tree
from runtime.build.workspace import Workspace
from runtime.container.config import Tmpfs, Volume
from runtime.image.tar.unpack import unpack
from runtime.sizes import parse_size

_CHUNK_BYTES = 1 << 20
_SYNONYMS = {"dst": "target", "destination": "target", "src": "source", "readonly": "ro", "readwrite": "rw"}
_KEYS = {
    "bind": {"target", "source", "from", "ro", "rw"},
    "cache": {"id", "target", "ro", "rw", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"target", "size"},
    "secret": {"id", "target", "source", "required", "mode", "uid", "gid", "env"},
}
_SWITCHES = {"ro", "rw", "required"}
_TRUE, _FALSE = ("", "1", "t", "true"), ("0", "f", "false")
_NUMBERS = {"mode": 8, "uid": 10, "gid": 10}
_SHARINGS = ("shared", "private", "locked")


class Mount(NamedTuple):
    """One of them."""

    kind: str
    values: dict[str, str]

    @property
    def target(self) -> str:
        return self.values.get("target", "")

    @property
    def secret(self) -> str:
        """The name of the secret that it asks for."""
        return self.values.get("id") or self.values.get("source") or os.path.basename(self.target)

    @property
    def is_read_only(self) -> bool:
        """As the last of ro and rw says; without any, only what is bound is."""
        said = [key for key in self.values if key in ("ro", "rw")]
        return self.on(said[-1]) == (said[-1] == "ro") if said else self.kind == "bind"

    def on(self, switch: str) -> bool:
        return self.values.get(switch, "false").lower() in _TRUE

    def number(self, key: str, default: int) -> int:
        return int(self.values[key], _NUMBERS[key]) if key in self.values else default


class Mounted(NamedTuple):
    """What a container gets for all of them."""

    volumes: list[Volume]
    tmpfs: list[Tmpfs]
    env: list[str]


def parse_mount(text: str, expand: Callable[[str], str]) -> Mount:
    """Values are expanded, but for the name of a stage. Raises BuildError, which names what isn't understood."""
    values = {key: value if key == "from" else expand(value) for key, value in _pairs(text).items()}
    kind = values.pop("type", "bind").lower()
    if kind not in _KEYS:
        raise BuildError(f"--mount={text}: type {kind} isn't supported: there are {', '.join(_KEYS)}")
    for key, value in values.items():
        if key not in _KEYS[kind]:
            raise BuildError(f"--mount={text}: a mount of type {kind} has no {key!r}")
        if key in _SWITCHES and value.lower() not in _TRUE + _FALSE:
            raise BuildError(f"--mount={text}: {key} is either true or false")
        if key in _NUMBERS and not _is_number(value, _NUMBERS[key]):
            raise BuildError(f"--mount={text}: {key} isn't a number")
    mount = Mount(kind, values)
    if kind != "secret" and not mount.target:
        raise BuildError(f"--mount={text}: it has no target")
    if kind == "secret" and not mount.secret:
        raise BuildError(f"--mount={text}: a secret has an id")
    if values.get("sharing", "shared") not in _SHARINGS:
        raise BuildError(f"--mount={text}: sharing is one of {', '.join(_SHARINGS)}")
    return mount


def mount_sources(texts: Iterable[str]) -> list[str]:
    """Names of the stages and images that they bind."""
    return [source for text in texts if (source := _pairs(text).get("from"))]


def _pairs(text: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in text.split(",")]
    return {_SYNONYMS.get(key.strip().lower(), key.strip().lower()): value for key, _, value in pairs}


class Mounter:
    """Makes what mounts ask for."""

    def __init__(self, workspace: Workspace, caches: str, secrets: Mapping[str, bytes], workdir: str) -> None:
        """`caches`: the directory in which those of type cache are kept."""
        self._workspace = workspace
        self._caches = caches
        self._secrets = secrets
        self._workdir = workdir

    def bound(self, mount: Mount, tree: Tree) -> Selection:
        """What one of type bind shows. Raises BuildError."""
        source = os.fsencode(mount.values.get("source", "/"))
        selection = select(tree, source, Attributes(), lambda _: False)
        if selection is None:
            raise BuildError(f"--mount: {os.fsdecode(source)} isn't there")
        return selection

    def key(self, mount: Mount, find: Callable[[str], Tree]) -> tuple[object, ...]:
        """What the result depends on: not the content of secrets and caches."""
        content = digest([self.bound(mount, find(mount.values.get("from", "")))]) if mount.kind == "bind" else ""
        return mount.kind, sorted(mount.values.items()), content

    def prepare(self, mounts: Iterable[Mount], find: Callable[[str], Tree], held: ExitStack) -> Mounted:
        """Make all of them; caches are ours until `held` is closed. Raises BuildError, OSError."""
        made = Mounted([], [], [])
        for mount in mounts:
            if mount.kind == "bind":
                source = self._copy(self.bound(mount, find(mount.values.get("from", ""))))
                made.volumes.append(Volume(source, self._target(mount.target), mount.is_read_only))
            elif mount.kind == "cache":
                made.volumes.append(Volume(self._cache(mount, held), self._target(mount.target), mount.is_read_only))
            elif mount.kind == "tmpfs":
                made.tmpfs.append(Tmpfs(self._target(mount.target), _tmpfs_options(mount), ["nosuid", "nodev"]))
            else:
                self._secret(mount, made)
        return made

    def _target(self, path: str) -> str:
        target = os.path.normpath(os.path.join(self._workdir, path))
        if not target.strip("/"):
            raise BuildError(f"--mount: {path} is the root directory")
        return target

    def _copy(self, selection: Selection) -> str:
        """Where there is a copy of it."""
        nothing = Tree([self._workspace.make_directory()])
        draft = Draft(nothing, 0)
        draft.copy([selection], b"/copy", into=False)
        directory = self._workspace.make_directory()
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(self._workspace.make_file(b"", 0o600), "w+b") as archive:
                draft.write(archive.write)
                archive.seek(0)
                unpack(lambda: archive.read(_CHUNK_BYTES), root)
        finally:
            os.close(root)
            nothing.close()
        return f"{directory}/copy"

    def _cache(self, mount: Mount, held: ExitStack) -> str:
        identity = mount.values.get("id") or self._target(mount.target)
        name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        os.makedirs(self._caches, mode=0o700, exist_ok=True)
        path = self._lock(f"{self._caches}/{name}", mount.values.get("sharing", "shared"), held)
        if not os.path.isdir(path):
            draft = self._workspace.make_directory()
            os.chown(draft, mount.number("uid", 0), mount.number("gid", 0))
            os.chmod(draft, mount.number("mode", 0o755))
            try:
                os.rename(draft, path)
            except OSError:  # another build was quicker
                os.rmdir(draft)
        return path

    def _lock(self, path: str, sharing: str, held: ExitStack) -> str:
        """Hold it as long as the command runs; a private one that is in use has others beside it."""
        number = 0
        while True:
            name = f"{path}-{number}" if number else path
            fd = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held.callback(os.close, fd)
            try:
                how = fcntl.LOCK_SH if sharing == "shared" else fcntl.LOCK_EX
                fcntl.flock(fd, how | (fcntl.LOCK_NB if sharing == "private" else 0))
                return name
            except BlockingIOError:
                number += 1

    def _secret(self, mount: Mount, made: Mounted) -> None:
        identity = mount.secret
        data = self._secrets.get(identity)
        if data is None:
            if mount.on("required"):
                raise BuildError(f"there is no secret {identity!r}: give it by --secret id={identity},src=FILE")
            return
        if mount.values.get("env"):
            made.env.append(f"{mount.values['env']}={os.fsdecode(data)}")
        if mount.target or not mount.values.get("env"):
            path = self._workspace.make_file(data, mount.number("mode", 0o400))
            os.chown(path, mount.number("uid", 0), mount.number("gid", 0))
            made.volumes.append(Volume(path, self._target(mount.target or f"/run/secrets/{identity}"), read_only=True))


def _tmpfs_options(mount: Mount) -> dict[str, str]:
    size = mount.values.get("size")
    try:
        return {"mode": "1777", **({"size": str(parse_size(size))} if size else {})}
    except ValueError as error:
        raise BuildError(f"--mount: size: {error}") from None


def _is_number(text: str, base: int) -> bool:
    return text.isascii() and text.isdigit() and (base == 10 or not set(text) & {"8", "9"})
