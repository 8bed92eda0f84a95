"""Profiles of allowed system calls, in Docker's JSON format, read and made to fit this machine and a container.

A profile is architectures, an action for what no rule speaks of, and rules. A rule may ask for capabilities that the
container has, for an architecture (as Go calls it) and for a least version of the kernel; then it counts or it doesn't.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from runtime.errors import Refusal
from unionfs.linux import libseccomp
from unionfs.linux.libseccomp import COMPARISONS, Comparison, Rule
from unionfs.linux.seccomp import FLAG_LOG, FLAG_SPEC_ALLOW

_ACTIONS = {
    "SCMP_ACT_KILL": libseccomp.KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": libseccomp.KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": libseccomp.KILL_PROCESS,
    "SCMP_ACT_TRAP": libseccomp.TRAP,
    "SCMP_ACT_ERRNO": libseccomp.ERRNO,
    "SCMP_ACT_TRACE": libseccomp.TRACE,
    "SCMP_ACT_LOG": libseccomp.LOG,
    "SCMP_ACT_ALLOW": libseccomp.ALLOW,
}
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_EPERM = 1
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # for all threads: there is one
    "SECCOMP_FILTER_FLAG_LOG": FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": FLAG_SPEC_ALLOW,
}
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
"""uname's names that Go has others for."""


class Machine(NamedTuple):
    """What rules are asked about."""

    name: str
    """As uname has it: x86_64."""
    kernel: str
    """Its release: 6.1.0-13-amd64."""
    capabilities: frozenset[str]
    """Of the container, with CAP_."""


class Chosen(NamedTuple):
    """A profile as it is for one machine and container."""

    default: int
    architectures: list[str]
    """Beside the machine's own."""
    rules: list[Rule]
    flags: int


def choose(text: str, machine: Machine) -> Chosen:
    """Raises Refusal, which names the field that makes no sense."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Refusal(f"seccomp profile: not JSON: {error}") from None
    try:
        return _choose(document, machine)
    except KeyError as error:
        raise Refusal(f"seccomp profile: {error.args[0]} is missing") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise Refusal(f"seccomp profile: {error}") from None


def _choose(document: dict[str, Any], machine: Machine) -> Chosen:
    rules = [
        rule
        for number, entry in enumerate(document.get("syscalls") or ())
        if _counts(entry, machine)
        for rule in _rules(entry, f"syscalls[{number}]", document)
    ]
    flags = [_known(_FLAGS, flag, "flag") for flag in document.get("flags") or ()]
    default = _action(document["defaultAction"], document.get("defaultErrnoRet"))
    return Chosen(default, _architectures(document, machine), rules, sum(set(flags)))


def _architectures(document: dict[str, Any], machine: Machine) -> list[str]:
    """Those whose programs this machine could run; with `archMap`, those that its own brings along."""
    found = [_architecture(name) for name in document.get("architectures") or ()]
    for entry in document.get("archMap") or ():
        if _architecture(entry["architecture"]) == machine.name:
            found += [_architecture(name) for name in entry.get("subArchitectures") or ()]
    return found


def _architecture(name: str) -> str:
    if not name.startswith("SCMP_ARCH_"):
        raise ValueError(f"unknown architecture {name!r}")
    return name.removeprefix("SCMP_ARCH_").lower()


def _counts(entry: dict[str, Any], machine: Machine) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    architecture = _GO_NAMES.get(machine.name, machine.name)
    if set(includes.get("caps") or ()) - machine.capabilities or set(excludes.get("caps") or ()) & machine.capabilities:
        return False
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if architecture in (excludes.get("arches") or ()):
        return False
    least, most = includes.get("minKernel"), excludes.get("minKernel")
    if least and _version(machine.kernel) < _version(least):
        return False
    return not most or _version(machine.kernel) < _version(most)


def _version(release: str) -> tuple[int, int]:
    """The first two numbers, which are all that profiles name."""
    major, _, rest = release.partition(".")
    digits = rest.partition(".")[0]
    minor = "".join(character for character in digits if character.isdigit())
    if not major.isdigit() or not minor:
        raise ValueError(f"minKernel {release!r} is not a version such as 4.8")
    return int(major), int(minor)


def _rules(entry: dict[str, Any], where: str, document: dict[str, Any]) -> Iterator[Rule]:
    names = entry.get("names") or [entry["name"]] if "name" in entry else entry["names"]
    code = entry.get("errnoRet", document.get("defaultErrnoRet") if entry["action"] in _WITH_ERRNO else None)
    action = _action(entry["action"], code)
    tests = tuple(_comparison(test, where) for test in entry.get("args") or ())
    twice = len({test.argument for test in tests}) < len(tests)  # then any of them suffices, as Docker has it
    alternatives: list[tuple[Comparison, ...]] = [(test,) for test in tests] if twice else [tests]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{where}: {name!r} is not the name of a system call")
        yield from (Rule(action, name, some) for some in alternatives)


def _action(name: str, code: int | None) -> int:
    action = _known(_ACTIONS, name, "action")
    return action | (_EPERM if code is None else int(code)) if name in _WITH_ERRNO else action


def _comparison(test: dict[str, Any], where: str) -> Comparison:
    operator = str(test["op"]).removeprefix("SCMP_CMP_")
    if operator not in COMPARISONS or not 0 <= test["index"] <= 5:
        raise ValueError(f"{where}: an argument is 0 to 5, its op one of {', '.join(COMPARISONS)}")
    second = int(test.get("valueTwo", 0))
    return Comparison(test["index"], 1 + COMPARISONS.index(operator), int(test["value"]), second)


def _known(table: dict[str, int], name: Any, what: str) -> int:
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}")
    return table[name]
