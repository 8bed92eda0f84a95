"""A Dockerfile's stages: what each is made from, and which are needed for the one that is wanted."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runtime.build import words
from runtime.build.dockerfile import Instruction
from runtime.build.errors import BuildError
from runtime.build.mounts import mount_sources

_ALIAS = re.compile(r"[a-z][a-z0-9._-]*", re.IGNORECASE)
SCRATCH = "scratch"


class Stage(NamedTuple):
    """One FROM, and what follows it."""

    number: int
    name: str
    """In lower case; empty if it has none."""
    base: str
    """An image, the name of an earlier stage, or scratch; expanded."""
    platform: str
    begin: Instruction
    instructions: list[Instruction]


class Plan(NamedTuple):
    """The stages, in order, and the arguments before the first, which those that declare them again get."""

    stages: list[Stage]
    arguments: dict[str, str]

    def find(self, text: str, before: int) -> Stage | None:
        """The stage that a name, or else a number, means among the first `before`."""
        stages = self.stages[:before]
        named = [stage for stage in stages if stage.name and stage.name == text.lower()]
        found = named or [stage for stage in stages if str(stage.number) == text]
        return found[-1] if found else None

    def needed(self, target: Stage) -> list[Stage]:
        """`target` and what it needs, in order."""
        wanted = {target.number}
        for stage in reversed(self.stages[: target.number + 1]):
            if stage.number in wanted:
                others = [self.base(stage), *self.sources(stage, stage.instructions)]
                wanted |= {other.number for other in others if other is not None}
        return [stage for stage in self.stages if stage.number in wanted]

    def sources(self, stage: Stage, instructions: Sequence[Instruction]) -> list[Stage]:
        """The stages that instructions in `stage` copy and mount from."""
        names = [name for instruction in instructions for name in _sources(instruction)]
        return [found for name in names if (found := self.find(name, stage.number))]

    def target(self, text: str) -> Stage:
        """Raises BuildError: there is no such stage."""
        found = self.find(text, len(self.stages)) if text else self.stages[-1]
        if found is None:
            raise BuildError(f"there is no stage {text!r}")
        return found

    def base(self, stage: Stage) -> Stage | None:
        """The stage that it begins with: by its name, for a number would be an image's."""
        named = [other for other in self.stages[: stage.number] if other.name and other.name == stage.base.lower()]
        return named[-1] if named else None


def divide(
    instructions: Sequence[Instruction], given: Mapping[str, str], automatic: Mapping[str, str], name: str
) -> Plan:
    """Find the stages. `given` are the caller's arguments, `automatic` those that need no declaration before a FROM.

    Raises BuildError.
    """
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in instructions:
        try:
            if instruction.keyword == "FROM":
                stages.append(_begin(instruction, len(stages), {**automatic, **arguments}))
            elif stages:
                stages[-1].instructions.append(instruction)
            elif instruction.keyword == "ARG":
                arguments.update(declared(instruction, {**automatic, **arguments}, given, {}))
            else:
                raise BuildError("it comes before the first FROM")
        except BuildError as error:
            raise BuildError(f"{name}:{instruction.line}: {instruction.keyword}: {error}") from None
    if not stages:
        raise BuildError(f"{name}: there is no FROM in it")
    return Plan(stages, arguments)


def declared(
    instruction: Instruction, variables: Mapping[str, str], given: Mapping[str, str], inherited: Mapping[str, str]
) -> dict[str, str]:
    """What an ARG makes known: what is given, else its own default, else what came before the first FROM."""
    found: dict[str, str] = {}
    for word in words.split(instruction.text, instruction.escape):
        key, equals, default = word.partition("=")
        key = words.expand(key, {}, instruction.escape)
        if not key:
            raise BuildError(f"{word!r} has no name")
        if key in given:
            found[key] = given[key]
        elif equals:
            found[key] = words.expand(default, {**variables, **found}, instruction.escape)
        elif key in inherited:
            found[key] = inherited[key]
    return found


def _begin(instruction: Instruction, index: int, variables: Mapping[str, str]) -> Stage:
    parts = instruction.text.split()
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1].upper() != "AS"):
        raise BuildError("it takes one name, or one and AS another")
    name = parts[2].lower() if len(parts) == 3 else ""
    if name and (not _ALIAS.fullmatch(name) or name == SCRATCH):
        raise BuildError(f"invalid name of a stage: {parts[2]!r}")
    base = words.expand(parts[0], variables, instruction.escape)
    if not base:
        raise BuildError(f"{parts[0]!r} is empty: an ARG before it has no value")
    platform = words.expand(instruction.flag("platform"), variables, instruction.escape)
    return Stage(index, name, base, platform, instruction, [])


def _sources(instruction: Instruction) -> list[str]:
    """Names of what it copies and mounts from."""
    return [*instruction.many("from"), *mount_sources(instruction.many("mount"))]
