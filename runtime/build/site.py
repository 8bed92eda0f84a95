"""What all stages of one build share: the store, the context, the caller's wishes, and what was built so far."""

import copy
import datetime
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from runtime.build.errors import BuildError
from runtime.build.running import Runner
from runtime.build.stages import SCRATCH, Plan
from runtime.build.trees import Tree
from runtime.build.workspace import Workspace
from runtime.image.digest import chain_ids
from runtime.image.make import Layer, new_config
from runtime.image.media import OCI_LAYER, Descriptor, layer_compression, make_descriptor
from runtime.image.obtain import is_elsewhere, obtain
from runtime.image.platform import Platform, parse_platform, this_machine
from runtime.image.store import Image, ImageStore
from runtime.places import Places

PROXIES = {
    case(name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for case in (str.upper, str.lower)
}  # fmt: skip


class Wishes(NamedTuple):
    """What the caller of a build asked for."""

    arguments: dict[str, str] = {}
    """--build-arg."""
    labels: dict[str, str] = {}
    secrets: dict[str, bytes] = {}
    target: str = ""
    platform: Platform | None = None
    network: str = ""
    use_cache: bool = True
    pull: bool = False
    epoch_s: int | None = None
    """SOURCE_DATE_EPOCH: the time at which everything happened."""


class Built(NamedTuple):
    """What a stage has come to. Nothing in it is changed: each step makes a new one."""

    config: dict[str, Any]
    """The image's configuration document."""
    layers: list[Layer]
    """Lowest first."""
    arguments: dict[str, str] = {}
    """Those that an ARG has declared, for stages that begin with this one too."""

    @property
    def run(self) -> dict[str, Any]:
        """What of the configuration says how a container runs."""
        found: dict[str, Any] = self.config.get("config") or {}
        return found

    @property
    def chain(self) -> str:
        """What names its layers together; empty if there is none."""
        chain = chain_ids([layer.diff_id for layer in self.layers])
        return str(chain[-1]) if chain else ""


class Site:
    """One build."""

    def __init__(
        self, store: ImageStore, workspace: Workspace, places: Places, context: Tree, plan: Plan, wishes: Wishes,
        automatic: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.store = store
        self.workspace = workspace
        self.places = places
        self.plan = plan
        self.wishes = wishes
        self.automatic = automatic
        """Arguments that the builder knows by itself."""
        self.built: dict[int, Built] = {}
        """By the stage's number."""
        self.runner = Runner(store, workspace, self.now_ns if wishes.epoch_s is not None else None)
        self.declared: set[str] = set()
        """Arguments that an ARG has named."""
        self._context = context
        self._images: dict[str, Image] = {}
        self._trees: dict[str, Tree] = {}
        self._empty = ""

    def close(self) -> None:
        for tree in self._trees.values():
            tree.close()

    @property
    def now_ns(self) -> int:
        return time.time_ns() if self.wishes.epoch_s is None else self.wishes.epoch_s * 10**9

    def now(self) -> str:
        """As configurations have it."""
        moment = datetime.datetime.fromtimestamp(self.now_ns / 10**9, datetime.UTC)
        return moment.isoformat().replace("+00:00", "Z")

    @property
    def proxies(self) -> list[str]:
        """Settings that RUN gets without an ARG, and on which no result depends."""
        return [f"{key}={value}" for key, value in self.wishes.arguments.items() if key in PROXIES]

    def begin(self, base: str, platform: str) -> Built:
        """What a FROM of an image, or of nothing, begins with. Raises Refusal."""
        wanted = parse_platform(platform) if platform else self.wishes.platform
        if base == SCRATCH:
            return Built(new_config(wanted or this_machine()), [])
        return _built(self._image(base, wanted))

    def origin(self, name: str, before: int) -> Built | None:
        """What `--from=name` means in stage number `before`; None: the context. Raises Refusal."""
        if not name:
            return None
        stage = self.plan.find(name, before)
        if stage is not None:
            return self.built[stage.number]
        if name.isdigit() or self.plan.find(name, len(self.plan.stages)):
            raise BuildError(f"there is no stage {name} before this one")
        if "$" in name:
            raise BuildError(f"{name}: variables aren't expanded here: name a stage by FROM {name} AS NAME")
        return _built(self._image(name, self.wishes.platform))

    def tree(self, origin: Built | None) -> Tree:
        """What is copied from, open as long as the build runs."""
        if origin is None:
            return self._context
        if origin.chain not in self._trees:
            self._trees[origin.chain] = Tree(self.directories(origin))
        return self._trees[origin.chain]

    @contextmanager
    def parent(self, built: Built) -> Iterator[Tree]:
        """What a step is about to change."""
        tree = Tree(self.directories(built))
        try:
            yield tree
        finally:
            tree.close()

    def directories(self, built: Built) -> list[str]:
        """The layers, unpacked, uppermost first; there is at least one."""
        if not built.layers:
            self._empty = self._empty or self.workspace.make_directory()
            return [self._empty]
        return self.store.stack_of(built.layers)

    def say(self, line: str) -> None:
        print(line, flush=True)

    def warn(self, line: str) -> None:
        print(f"pyunion build: {line}", file=sys.stderr)

    def _image(self, name: str, platform: Platform | None) -> Image:
        key = f"{name} {platform}"
        if is_elsewhere(name):
            raise BuildError(f"{name} is a place on this machine, which a Dockerfile can't name: load it first")
        if key not in self._images:
            self._images[key] = obtain(self.store, name, platform, "always" if self.wishes.pull else "missing")
        return self._images[key]


def automatic_arguments(target: Platform | None) -> Mapping[str, str]:
    """Those that need no value: of what the image is for, and of where it is built."""
    found = {}
    for prefix, platform in (("TARGET", target or this_machine()), ("BUILD", this_machine())):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"], found[f"{prefix}ARCH"] = platform.os, platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant
    return found


def _built(image: Image) -> Built:
    config = image.config()
    layers = zip(map(_as_oci, image.manifest().layers), config.diff_ids, strict=True)
    if config.platform.os != "linux":
        raise BuildError(f"the image is for {config.platform}, and only those for Linux can be built on")
    return Built(copy.deepcopy(config.raw), [Layer(*pair) for pair in layers])


def _as_oci(layer: Descriptor) -> Descriptor:
    """The same layer by the media type that OCI has for it."""
    compression = layer_compression(layer)
    return make_descriptor(OCI_LAYER + (f"+{compression}" if compression else ""), layer.digest, layer.size)
