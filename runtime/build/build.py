"""A build from its text to its image."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from runtime.build.contexts import open_context
from runtime.build.dockerfile import Instruction, parse
from runtime.build.errors import BuildError
from runtime.build.site import PROXIES, Built, Site, Wishes, automatic_arguments
from runtime.build.stages import Stage, divide
from runtime.build.steps import StageBuild
from runtime.build.workspace import open_workspace
from runtime.errors import Refusal, describe
from runtime.image.make import write_image
from runtime.image.reference import Reference
from runtime.image.store import Image, ImageStore
from runtime.places import Places
from unionfs.core.errors import UnionError


def build(places: Places, place: str, file: str, wishes: Wishes, names: Sequence[Reference] = ()) -> Image:
    """Build the image that a context (a directory, or - for standard input) and its Dockerfile describe.

    Raises Refusal. Interrupted, or when it fails, it leaves nothing but what the cache knows.
    """
    store = ImageStore(places)
    store.prepare()
    with ExitStack() as held:
        held.enter_context(store.adding())
        workspace = held.enter_context(open_workspace(places))
        context = open_context(place, file, workspace)
        held.callback(context.tree.close)
        automatic = automatic_arguments(wishes.platform)
        plan = divide(parse(context.dockerfile, context.name), wishes.arguments, automatic, context.name)
        site = Site(store, workspace, places, context.tree, plan, wishes, automatic)
        held.callback(site.close)
        built = _Progress(site, context.name).run(plan.target(wishes.target))
        unknown = wishes.arguments.keys() - site.declared - plan.arguments.keys() - PROXIES - {"SOURCE_DATE_EPOCH"}
        if unknown:
            site.warn(f"no ARG takes --build-arg {', '.join(sorted(unknown))}")
        return _finish(store, built, wishes, names)


class _Progress:
    """Carries out the stages that are needed, one after the other, and says so."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._name = name
        self._planned: set[int] = set()
        self._done = self._total = 0

    def run(self, target: Stage) -> Built:
        """What a stage comes to, after those it needs, as far as they aren't built yet."""
        needed = self._site.plan.needed(target)
        for stage in needed:
            self._total += 0 if stage.number in self._planned else 1 + len(stage.instructions)
            self._planned.add(stage.number)
        for stage in needed:
            if stage.number not in self._site.built:
                self._site.built[stage.number] = self._stage(stage)
        return self._site.built[target.number]

    def _stage(self, stage: Stage) -> Built:
        self._say(stage.begin)
        with _located(f"{self._name}:{stage.begin.line}: FROM"):
            base = self._site.plan.base(stage)
            found = self._site.built[base.number] if base else self._site.begin(stage.base, stage.platform)
            work = StageBuild(self._site, stage, found)
        for other in self._site.plan.sources(stage, work.triggers):  # known only now
            self.run(other)
        for trigger in work.triggers:
            self._site.say(f"# Executing the trigger: {trigger.shown}")
            with _located(f"{self._name}:{stage.begin.line}: ONBUILD {trigger.keyword} of {stage.base}"):
                work.step(trigger)
        for instruction in stage.instructions:
            self._say(instruction)
            with _located(f"{self._name}:{instruction.line}: {instruction.keyword}"):
                work.step(instruction)
        return work.built

    def _say(self, instruction: Instruction) -> None:
        self._done += 1
        self._site.say(f"Step {self._done}/{self._total} : {instruction.shown}")


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Says of what goes wrong inside where it was."""
    try:
        yield
    except (Refusal, UnionError) as error:
        raise BuildError(f"{place}: {error}") from None
    except BrokenPipeError:
        raise  # not about the build: our reader left
    except OSError as error:
        raise BuildError(f"{place}: {describe(error)}") from None


def _finish(store: ImageStore, built: Built, wishes: Wishes, names: Sequence[Reference]) -> Image:
    config = dict(built.config)
    if wishes.labels:
        config["config"] = {**built.run, "Labels": {**(built.run.get("Labels") or {}), **wishes.labels}}
    image = write_image(
        store, config, [layer.descriptor.raw for layer in built.layers], reference=names[0] if names else None
    )
    for name in names[1:]:
        store.tag(image, name)
    return image
