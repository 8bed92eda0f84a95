"""Instructions that only change the image's configuration."""

import functools
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from runtime.build import words
from runtime.build.dockerfile import Instruction, parse_line, parse_trigger
from runtime.build.errors import BuildError
from runtime.spans import parse_ns

Json = dict[str, Any]
Expand = Callable[[str], str]

DEFAULT_SHELL = ["/bin/sh", "-c"]
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-zA-Z]+))?")
_PROTOCOLS = ("tcp", "udp", "sctp")
_SIGNAL = re.compile(r"\d{1,2}|(SIG)?[A-Z][A-Z0-9]*([+-]\d+)?")
_HEALTH = {
    "interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "start-interval": "StartInterval",
}


def command(instruction: Instruction, run: Json) -> list[str]:
    """The arguments that CMD, ENTRYPOINT or RUN mean: a JSON array, or a text for the shell."""
    listed = instruction.json()
    return listed if listed is not None else [*shell(run), instruction.text]


def shell(run: Json) -> list[str]:
    """What the image's shell is."""
    return run.get("Shell") or DEFAULT_SHELL


def pairs(instruction: Instruction, expand: Expand) -> list[tuple[str, str]]:
    """KEY=VALUE..., or KEY and a value that is the rest of the line. Raises BuildError."""
    found = words.split(instruction.text, instruction.escape)
    if "=" not in found[0]:
        rest = instruction.text[len(found[0]) :].strip()
        if not rest:
            raise BuildError(f"{found[0]} has no value")
        return [(expand(found[0]), expand(rest))]
    for word in found:
        if "=" not in word or word.startswith("="):
            raise BuildError(f"{word!r} isn't of the form KEY=VALUE")
    return [(expand(key), expand(value)) for key, _, value in (word.partition("=") for word in found)]


def env(run: Json, instruction: Instruction, expand: Expand) -> None:
    """A name that was there keeps its place."""
    old = (setting.partition("=") for setting in run.get("Env") or [])
    settings = {key: value for key, _, value in old} | dict(pairs(instruction, expand))
    run["Env"] = [f"{key}={value}" for key, value in settings.items()]


def with_path(run: Json) -> Json:
    """`run` with a PATH, so that `ENV PATH=$PATH:/more` adds to one."""
    return run if "PATH" in variables(run) else {**run, "Env": [*(run.get("Env") or []), f"PATH={_DEFAULT_PATH}"]}


def label(run: Json, instruction: Instruction, expand: Expand) -> None:
    run["Labels"] = {**(run.get("Labels") or {}), **dict(pairs(instruction, expand))}


def cmd(run: Json, instruction: Instruction, _expand: Expand) -> None:
    run["Cmd"] = command(instruction, run) if instruction.text else []


def entrypoint(run: Json, instruction: Instruction, _expand: Expand) -> None:
    run["Entrypoint"] = command(instruction, run) if instruction.text else []


def user(run: Json, instruction: Instruction, expand: Expand) -> None:
    run["User"] = _one(instruction, expand)


def stop_signal(run: Json, instruction: Instruction, expand: Expand) -> None:
    text = _one(instruction, expand)
    if not _SIGNAL.fullmatch(text):
        raise BuildError(f"{text!r} isn't a signal")
    run["StopSignal"] = text


def expose(run: Json, instruction: Instruction, expand: Expand) -> None:
    ports = [port for word in words.split(instruction.text, instruction.escape) for port in _ports(expand(word))]
    run["ExposedPorts"] = {**(run.get("ExposedPorts") or {}), **{port: {} for port in ports}}


def volume(run: Json, instruction: Instruction, expand: Expand) -> None:
    paths = [expand(word) for word in instruction.words()]
    if not paths or not all(paths):
        raise BuildError("a path is empty")
    run["Volumes"] = {**(run.get("Volumes") or {}), **{path: {} for path in paths}}


def workdir(run: Json, instruction: Instruction, expand: Expand) -> None:
    """Absolute, or relative to what it was."""
    path = os.path.normpath(os.path.join("/", run.get("WorkingDir") or "", _one(instruction, expand)))
    run["WorkingDir"] = "/" + path.lstrip("/")


def set_shell(run: Json, instruction: Instruction, _expand: Expand) -> None:
    listed = instruction.json()
    if not listed:
        raise BuildError("it takes a JSON array")
    run["Shell"] = listed


def on_build(run: Json, instruction: Instruction, _expand: Expand) -> None:
    parse_trigger(instruction.text, instruction.escape)
    run["OnBuild"] = [*(run.get("OnBuild") or []), instruction.text]


def healthcheck(run: Json, instruction: Instruction, _expand: Expand) -> None:
    """Times are kept in nanoseconds, as Docker does."""
    kind, *more = instruction.text.split(None, 1)
    kind, rest = kind.upper(), "".join(more)
    if kind == "NONE" and not rest and not instruction.flags:
        run["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind != "CMD" or not rest:
        raise BuildError("it is NONE, or CMD and a command")
    test = instruction._replace(text=rest)
    listed = test.json()
    health: Json = {"Test": ["CMD-SHELL", test.text] if listed is None else ["CMD", *listed]}
    for flag, key in _HEALTH.items():
        if text := instruction.flag(flag):
            health[key] = _span_ns(text, flag)
    if text := instruction.flag("retries"):
        if not text.isdigit():
            raise BuildError(f"--retries={text} isn't a number")
        health["Retries"] = int(text)
    run["Healthcheck"] = health


SETTINGS: dict[str, Callable[[Json, Instruction, Expand], None]] = {
    "CMD": cmd,
    "ENTRYPOINT": entrypoint,
    "ENV": env,
    "EXPOSE": expose,
    "HEALTHCHECK": healthcheck,
    "LABEL": label,
    "ONBUILD": on_build,
    "SHELL": set_shell,
    "STOPSIGNAL": stop_signal,
    "USER": user,
    "VOLUME": volume,
    "WORKDIR": workdir,
}


def variables(run: Json) -> dict[str, str]:
    """The environment of what runs."""
    return {key: value for key, _, value in (setting.partition("=") for setting in run.get("Env") or [])}


def changing(texts: Iterable[str]) -> Callable[[Json], None]:
    """What instructions that are given one by one make of a configuration. Raises BuildError, then and now."""
    found = list(map(_one_setting, texts))

    def change(run: Json) -> None:
        for instruction in found:
            expand = functools.partial(words.expand, variables=variables(run), escape=instruction.escape)
            try:
                SETTINGS[instruction.keyword](run, instruction, expand)
            except BuildError as error:
                raise BuildError(f"change {instruction.shown!r}: {error}") from None

    return change


def _one_setting(text: str) -> Instruction:
    try:
        instruction = parse_line(text)
    except BuildError as error:
        raise BuildError(f"change {text!r}: {error}") from None
    if instruction.keyword not in SETTINGS:
        raise BuildError(f"change {text!r}: {instruction.keyword} is none of {', '.join(SETTINGS)}")
    return instruction


def _one(instruction: Instruction, expand: Expand) -> str:
    text = expand(instruction.text)
    if not text.strip():
        raise BuildError(f"{instruction.text!r} is empty")
    return text.strip()


def _ports(text: str) -> list[str]:
    found = _PORT.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    protocol = (found[3] or "tcp").lower() if found else ""
    if not 0 < first <= last <= 65535 or protocol not in _PROTOCOLS:
        raise BuildError(f"{text!r} isn't a port, as in 80, 53/udp or 8000-8010/tcp")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _span_ns(text: str, flag: str) -> int:
    try:
        return parse_ns(text)
    except ValueError as error:
        raise BuildError(f"--{flag}: {error}") from None
