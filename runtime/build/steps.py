"""One stage, instruction by instruction: what each makes of the image so far.

A step that makes a layer is looked up first, by all that its result depends on: the layers below by their digests,
what the instruction says with its variables expanded, and the content of what it copies. So what only changes the
configuration (LABEL, CMD) never makes a later RUN run again. Of steps that make none only the time is remembered, so
that a build of which nothing changed gives the same image.
"""

import copy
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from runtime.build import settings, words
from runtime.build.copying import Draft
from runtime.build.dockerfile import Instruction, parse_trigger
from runtime.build.errors import BuildError
from runtime.build.mounts import Mounter, parse_mount
from runtime.build.running import Command
from runtime.build.selecting import Attributes, Selection, digest, owned
from runtime.build.site import Built, Site
from runtime.build.sources import Request, gather, owner_of, read_request, unpacked
from runtime.build.stages import Stage, declared
from runtime.container.config import Volume
from runtime.image.digest import parse_digest
from runtime.image.errors import Corrupt
from runtime.image.make import Layer, make_layer
from runtime.image.media import parse_descriptor

_NETWORKS = ("default", "host", "none")
_Make = Callable[[], Layer | None]


class Made(NamedTuple):
    """What a step came to, and when."""

    layer: Layer | None
    created: str


class StageBuild:
    """Carries out the instructions of one stage; `built` is what it has come to."""

    def __init__(self, site: Site, stage: Stage, base: Built) -> None:
        self._site = site
        self._stage = stage
        self._has_command = False
        self._escape = stage.begin.escape
        config = copy.deepcopy(base.config)
        config["config"] = settings.with_path(config.get("config") or {})
        self.triggers = [parse_trigger(text) for text in config["config"].pop("OnBuild", None) or []]
        """What the base wants to be done first."""
        self.built = base._replace(config=config)

    def step(self, instruction: Instruction) -> None:
        """Raises Refusal, UnionError, OSError."""
        match instruction.keyword:
            case "ARG":
                self._declare(instruction)
                self._set(instruction, self.built.run)
            case "RUN":
                self._run(instruction)
            case "COPY" | "ADD":
                self._copy(instruction)
            case "WORKDIR":
                self._change_directory(instruction)
            case "MAINTAINER":
                self._set(instruction, self.built.run, author=instruction.text)
            case keyword:
                run = copy.deepcopy(self.built.run)
                settings.SETTINGS[keyword](run, instruction, self._expand)
                if keyword == "ENTRYPOINT" and not self._has_command:
                    run.pop("Cmd", None)  # the base's, which was meant for another program
                self._has_command |= keyword == "CMD"
                self._set(instruction, run)

    @property
    def _variables(self) -> dict[str, str]:
        return {**self.built.arguments, **settings.variables(self.built.run)}

    def _expand(self, text: str) -> str:
        return words.expand(text, self._variables, self._escape)

    @property
    def _workdir(self) -> str:
        return "/" + (self.built.run.get("WorkingDir") or "").lstrip("/")

    def _declare(self, instruction: Instruction) -> None:
        inherited = {**self._site.automatic, **self._site.plan.arguments}
        given = self._site.wishes.arguments
        found = declared(instruction, self._variables, given, inherited)
        self.built = self.built._replace(arguments={**self.built.arguments, **found})
        self._site.declared.update(found)

    def _set(self, instruction: Instruction, run: dict[str, Any], **document: str) -> None:
        """A step without a layer."""
        config = {**self.built.config, "config": run, **document}
        made = self._remembered([("SET", config, instruction.shown)], lambda: None)
        self._record(config, made, instruction.shown)

    def _change_directory(self, instruction: Instruction) -> None:
        run = copy.deepcopy(self.built.run)
        settings.workdir(run, instruction, self._expand)
        path: str = run["WorkingDir"]
        user: str = run.get("User") or ""

        def make() -> Layer | None:
            with self._site.parent(self.built) as parent:
                draft = Draft(parent, self._site.now_ns, owner_of(user, parent) if user else (0, 0))
                draft.make_directory(os.fsencode(path))
                return self._kept(draft)

        made = self._remembered([("WORKDIR", self.built.chain, path, user)], make)
        self._record({**self.built.config, "config": run}, made, f"WORKDIR {path}")

    def _copy(self, instruction: Instruction) -> None:
        site = self._site
        request = read_request(instruction, self._expand, self._workdir)
        origin = site.origin(instruction.flag("from"), self._stage.number)
        newest_ns = site.now_ns if site.wishes.epoch_s is not None else None
        attributes = Attributes((0, 0) if origin is None else None, request.mode, newest_ns)

        @functools.cache
        def selections() -> list[Selection]:
            return gather(request, instruction, site.tree(origin), attributes, self._variables, site.now_ns)

        def keys() -> Iterator[tuple[object, ...]]:
            common = (instruction.keyword, self.built.chain, request.key)
            if origin is not None:  # what they select needn't be read then
                yield *common, origin.chain, request.sources, request.excluded, _heredocs(instruction)
            yield *common, digest(selections())

        def make() -> Layer | None:
            return self._copied(request, selections(), newest_ns, unpack=instruction.keyword == "ADD")

        self._record(self.built.config, self._remembered(keys(), make), instruction.shown)

    def _copied(
        self, request: Request, selections: list[Selection], newest_ns: int | None, *, unpack: bool
    ) -> Layer | None:
        with ExitStack() as held:
            parent = held.enter_context(self._site.parent(self.built))
            owner = owner_of(request.owner, parent) if request.owner else None
            if unpack:
                selections = unpacked(selections, Attributes(newest_ns=newest_ns), self._site.workspace, held)
            if owner is not None:
                selections = [owned(selection, owner) for selection in selections]
            draft = Draft(parent, self._site.now_ns, owner or (0, 0))
            draft.copy(selections, os.fsencode(request.destination), into=request.into)
            return self._kept(draft)

    def _run(self, instruction: Instruction) -> None:
        site = self._site
        mounts = [parse_mount(text, self._expand) for text in instruction.many("mount")]
        network = self._expand(instruction.flag("network")) or site.wishes.network or "default"
        if network not in _NETWORKS:
            raise BuildError(f"--network={network}: there are {', '.join(_NETWORKS)}")
        args, script = _command(instruction, self.built.run)
        run = self.built.run
        env = [*(f"{key}={value}" for key, value in self.built.arguments.items()), *(run.get("Env") or [])]
        user = run.get("User") or ""
        mounter = Mounter(site.workspace, f"{site.places.root}/mounts", site.wishes.secrets, self._workdir)
        find = functools.cache(lambda name: site.tree(site.origin(name, self._stage.number)))

        def make() -> Layer | None:
            with ExitStack() as held:
                mounted = mounter.prepare(mounts, find, held)
                volumes = list(mounted.volumes)
                if script is not None:
                    path = site.workspace.make_file(script.encode(errors="surrogateescape"), 0o755)
                    volumes.append(Volume(path, args[0], read_only=True))
                environment = [*site.proxies, *env, *mounted.env]
                command = Command(args, environment, user, self._workdir, network, volumes, mounted.tmpfs)
                directories = site.directories(self.built)
                root = site.store.root_of([layer.diff_id for layer in self.built.layers])
                return site.runner.run(command, directories, root)

        said = (args, script, env, user, self._workdir, network)
        key = ("RUN", self.built.chain, said, [mounter.key(mount, find) for mount in mounts])
        self._record(self.built.config, self._remembered([key], make), f"RUN {' '.join(args)}")

    def _kept(self, draft: Draft) -> Layer | None:
        return None if draft.is_empty else make_layer(self._site.store, draft.write)

    def _remembered(self, keys: Iterable[tuple[object, ...]], make: _Make) -> Made:
        """What an earlier build made by one of `keys`, which are asked for one by one; else what `make` makes."""
        cache, found = self._site.store.cache, None
        names = []
        for key in keys:
            names.append(hashlib.sha256(repr((key, self._site.wishes.epoch_s)).encode(errors="replace")).hexdigest())
            entry = cache.get(names[-1]) if self._site.wishes.use_cache else None
            if entry is not None and (found := self._from(entry)) is not None:
                self._site.say(" ---> Using cache")
                break
        made = found or Made(make(), self._site.now())
        for name in names[:-1] if found else names:
            cache.put(name, _to_entry(made))
        return made

    def _from(self, entry: dict[str, Any]) -> Made | None:
        """What an entry of the cache stands for, if it is whole and what it names is still here."""
        created = entry.get("created")
        if not isinstance(created, str):
            return None
        if "layer" not in entry:
            return Made(None, created)
        try:
            layer = Layer(parse_descriptor(entry["layer"]), parse_digest(entry.get("diff_id")))
        except Corrupt:
            return None
        return Made(layer, created) if self._site.store.has_blob(layer.descriptor.digest) else None

    def _record(self, config: dict[str, Any], made: Made, text: str) -> None:
        """The step is done: note it in the history."""
        entry: dict[str, Any] = {"created": made.created, "created_by": text}
        layers = self.built.layers
        if made.layer is None:
            entry["empty_layer"] = True
        else:
            layers = [*layers, made.layer]
        rootfs = {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]}
        history = [*(config.get("history") or []), entry]
        config = {**config, "created": made.created, "rootfs": rootfs, "history": history}
        self.built = self.built._replace(config=config, layers=layers)


def _to_entry(made: Made) -> dict[str, Any]:
    if made.layer is None:
        return {"created": made.created}
    return {"created": made.created, "layer": made.layer.descriptor.raw, "diff_id": str(made.layer.diff_id)}


def _heredocs(instruction: Instruction) -> list[tuple[object, ...]]:
    return [tuple(heredoc) for heredoc in instruction.heredocs]


def _command(instruction: Instruction, run: dict[str, Any]) -> tuple[list[str], str | None]:
    """What RUN runs; and the script that its first argument is to be, if a here-document is one."""
    heredocs = instruction.heredocs
    if not heredocs:
        return settings.command(instruction, run), None
    if len(heredocs) == 1 and instruction.text == heredocs[0].word:
        if heredocs[0].content.startswith("#!"):
            return [f"/dev/pipes/{heredocs[0].name}"], heredocs[0].content
        return [*settings.shell(run), heredocs[0].content], None
    documents = "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in heredocs)
    return [*settings.shell(run), f"{instruction.text}\n{documents}"], None
